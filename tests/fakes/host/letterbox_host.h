// SPDX-License-Identifier: AGPL-3.0-or-later
// The letterbox kernel as C++: CUDA's words that it uses, the kernel's own source, and a loop over the threads.
#pragma once

#include <cstring>

struct Index {
    unsigned x, y, z;
};
static thread_local Index threadIdx, blockIdx, blockDim;

#define __device__
#define __global__
#define __launch_bounds__(threads)

static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

#include "letterbox.cu"

// Calls kernel(arguments...) once for each thread of each block of the grid, one after the other.
template <typename Kernel, typename... Arguments>
static void run_grid(const unsigned* grid, const unsigned* block, Kernel kernel, Arguments... arguments) {
    blockDim = {block[0], block[1], block[2]};
    for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
                for (threadIdx.z = 0; threadIdx.z < block[2]; ++threadIdx.z)
                    for (threadIdx.y = 0; threadIdx.y < block[1]; ++threadIdx.y)
                        for (threadIdx.x = 0; threadIdx.x < block[0]; ++threadIdx.x) kernel(arguments...);
}
