// SPDX-License-Identifier: AGPL-3.0-or-later
// Letterboxes a batch of NV12 or P016 frames into NCHW network inputs: definition 1 of devices/preprocessing/definition.py.
//
// Integers up to the last step, then one multiplication, so that every GPU and the CPU give the same bits. The host
// makes the tap tables and the colour matrix with the definition's own functions; a thread makes one output pixel.
// No headers: NVRTC compiles this as it is, and so does a C++ compiler that is given CUDA's few words.

// One plane and how it is resampled. A tap table of n outputs holds n first source positions, then n first weights
// (Q15), n second weights and so on, so that neighbouring threads read neighbouring entries. Every tap lies inside
// the plane; those that are not needed weigh nothing.
struct Plane {
    const unsigned char* samples;  // P016: the upper byte of the first sample
    const unsigned short* across;  // tap table of the columns
    const unsigned short* down;    // tap table of the rows
    int pitch;                     // bytes from one line to the next
    int across_taps;
    int down_taps;
};

struct FrameParams {
    Plane luma;
    Plane chroma;      // Cb and Cr alternate
    int sample_bytes;  // from one sample to the next: 1 of NV12, 2 of P016, whose lower bytes are never looked at
    int left, top, width, height;  // where the frame lies in the network input
    int luma_offset;               // Q6
    int matrix[9];                 // Q14, rows R, G, B; columns Y, Cb, Cr
};

// Resamples CHANNELS interleaved channels at one output pixel; the results are Q6.
template <int CHANNELS>
__device__ inline void resample(const Plane& plane, const FrameParams& frame, int x, int y, int (&q6)[CHANNELS]) {
    const int step = CHANNELS * frame.sample_bytes;
    const unsigned char* corner =
        plane.samples + (long long)plane.down[y] * plane.pitch + (long long)plane.across[x] * step;
    int sum[CHANNELS];
    for (int c = 0; c < CHANNELS; ++c) sum[c] = 1 << 14;
    for (int row = 0; row < plane.down_taps; ++row) {
        const unsigned char* line = corner + (long long)row * plane.pitch;
        int across[CHANNELS];
        for (int c = 0; c < CHANNELS; ++c) across[c] = 1 << 8;
        for (int column = 0; column < plane.across_taps; ++column) {
            const int weight = plane.across[(column + 1) * frame.width + x];
            for (int c = 0; c < CHANNELS; ++c) across[c] += weight * line[column * step + c * frame.sample_bytes];
        }
        const int weight = plane.down[(row + 1) * frame.height + y];
        for (int c = 0; c < CHANNELS; ++c) sum[c] += weight * (across[c] >> 9);
    }
    for (int c = 0; c < CHANNELS; ++c) q6[c] = sum[c] >> 15;
}

__device__ inline int to_byte(int q20) {
    const int value = (q20 + (1 << 19)) >> 20;
    return value < 0 ? 0 : (value > 255 ? 255 : value);
}

// Writes R, G, B (0..255) of one pixel of the content.
__device__ inline void convert(const FrameParams& frame, int x, int y, int (&rgb)[3]) {
    int luma[1], chroma[2];
    resample<1>(frame.luma, frame, x, y, luma);
    resample<2>(frame.chroma, frame, x, y, chroma);
    const int from_black = luma[0] - frame.luma_offset;
    for (int c = 0; c < 3; ++c) {
        const int* row = frame.matrix + 3 * c;
        rgb[c] = to_byte(row[0] * from_black + row[1] * (chroma[0] - 128 * 64) + row[2] * (chroma[1] - 128 * 64));
    }
}

__device__ inline void store(float* output, int byte) { *output = (float)byte * (1.0f / 255.0f); }

// binary16, rounded to nearest: all but 0 become normal numbers, and none lies half way between two.
__device__ inline void store(unsigned short* output, int byte) {
    float value;
    store(&value, byte);
    *output = (unsigned short)(byte == 0 ? 0 : (__float_as_uint(value) + (1u << 12) - (112u << 23)) >> 13);
}

// One launch makes a batch: blockIdx.z is the frame. `output` is (frames, 3, height, width), padding included.
template <typename Output>
__device__ inline void letterbox(const FrameParams* frames, Output* output, int width, int height) {
    const int x = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    const int y = (int)(blockIdx.y * blockDim.y + threadIdx.y);
    if (x >= width || y >= height) return;
    const FrameParams& frame = frames[blockIdx.z];
    const int inner_x = x - frame.left, inner_y = y - frame.top;
    int rgb[3] = {114, 114, 114};
    if (inner_x >= 0 && inner_x < frame.width && inner_y >= 0 && inner_y < frame.height)
        convert(frame, inner_x, inner_y, rgb);
    const long long channel = (long long)width * height;
    Output* pixel = output + blockIdx.z * 3 * channel + (long long)y * width + x;
    for (int c = 0; c < 3; ++c) store(pixel + c * channel, rgb[c]);
}

extern "C" __global__ void __launch_bounds__(256)
letterbox_float(const FrameParams* frames, float* output, int width, int height) {
    letterbox(frames, output, width, height);
}

extern "C" __global__ void __launch_bounds__(256)
letterbox_half(const FrameParams* frames, unsigned short* output, int width, int height) {
    letterbox(frames, output, width, height);
}
