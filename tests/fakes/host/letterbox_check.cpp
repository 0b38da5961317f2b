// SPDX-License-Identifier: AGPL-3.0-or-later
// Runs batches that come on stdin and writes the outputs to stdout. Every plane, table and output is an allocation of
// its own and of its exact size, so that the address sanitizer sees each access beside it.
//
// In:  int32 half, frames, width, height; for each frame its FrameParams, then luma, chroma and the four tap tables
//      (luma across, luma down, chroma across, chroma down), each after its size in bytes (int64). Of the addresses in
//      FrameParams those of samples count from the plane's begin; those of tables are not looked at.
// Out: the batch (frames, 3, height, width).
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "letterbox_host.h"

using Memory = std::unique_ptr<unsigned char[]>;

static void read_all(void* into, std::size_t size) {
    if (size && std::fread(into, size, 1, stdin) != 1) std::exit(2);
}

// Returns where the next blob is; it lives in `kept`.
static unsigned char* read_blob(std::vector<Memory>& kept) {
    std::int64_t size;
    read_all(&size, sizeof size);
    kept.emplace_back(new unsigned char[(std::size_t)size]);
    read_all(kept.back().get(), (std::size_t)size);
    return kept.back().get();
}

template <typename Output>
static void run(void (*kernel)(const FrameParams*, Output*, int, int), const std::vector<FrameParams>& frames,
                int width, int height) {
    const std::size_t size = frames.size() * 3 * (std::size_t)width * (std::size_t)height;
    const std::unique_ptr<FrameParams[]> params(new FrameParams[frames.size()]);
    std::memcpy(params.get(), frames.data(), frames.size() * sizeof(FrameParams));
    const std::unique_ptr<Output[]> output(new Output[size]);
    const unsigned grid[] = {(unsigned)(width + 31) / 32, (unsigned)(height + 7) / 8, (unsigned)frames.size()};
    const unsigned block[] = {32, 8, 1};
    run_grid(grid, block, kernel, (const FrameParams*)params.get(), output.get(), width, height);
    std::fwrite(output.get(), sizeof(Output), size, stdout);
    std::fflush(stdout);
}

int main() {
    std::int32_t head[4];
    while (std::fread(head, sizeof head, 1, stdin) == 1) {
        std::vector<FrameParams> frames((std::size_t)head[1]);
        std::vector<Memory> kept;
        for (FrameParams& frame : frames) {
            read_all(&frame, sizeof frame);
            frame.luma.samples = read_blob(kept) + (std::size_t)frame.luma.samples;
            frame.chroma.samples = read_blob(kept) + (std::size_t)frame.chroma.samples;
            for (Plane* plane : {&frame.luma, &frame.chroma}) {
                plane->across = (const unsigned short*)read_blob(kept);
                plane->down = (const unsigned short*)read_blob(kept);
            }
        }
        if (head[0])
            run(letterbox_half, frames, head[2], head[3]);
        else
            run(letterbox_float, frames, head[2], head[3]);
    }
}
