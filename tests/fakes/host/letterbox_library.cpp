// SPDX-License-Identifier: AGPL-3.0-or-later
// The kernel as a shared library: called with pointers to its parameters, as a CUDA driver is.
#include <cstddef>

#include "letterbox_host.h"

template <typename Output>
static void launch(void (*kernel)(const FrameParams*, Output*, int, int), void** parameters, const unsigned* grid,
                   const unsigned* block) {
    run_grid(grid, block, kernel, *(const FrameParams**)parameters[0], *(Output**)parameters[1], *(int*)parameters[2],
             *(int*)parameters[3]);
}

extern "C" void host_letterbox_float(void** parameters, const unsigned* grid, const unsigned* block) {
    launch(letterbox_float, parameters, grid, block);
}

extern "C" void host_letterbox_half(void** parameters, const unsigned* grid, const unsigned* block) {
    launch(letterbox_half, parameters, grid, block);
}

// The size, then the offsets in the order of the declarations, as the compiler lays them out.
#define LAYOUT(name, ...)                              \
    extern const std::size_t name[], name##_size;      \
    const std::size_t name[] = {__VA_ARGS__};          \
    const std::size_t name##_size = sizeof name;

extern "C" {
LAYOUT(plane_layout, sizeof(Plane), offsetof(Plane, samples), offsetof(Plane, across), offsetof(Plane, down),
       offsetof(Plane, pitch), offsetof(Plane, across_taps), offsetof(Plane, down_taps))
LAYOUT(frame_layout, sizeof(FrameParams), offsetof(FrameParams, luma), offsetof(FrameParams, chroma),
       offsetof(FrameParams, sample_bytes), offsetof(FrameParams, left), offsetof(FrameParams, top),
       offsetof(FrameParams, width), offsetof(FrameParams, height), offsetof(FrameParams, luma_offset),
       offsetof(FrameParams, matrix))
}
