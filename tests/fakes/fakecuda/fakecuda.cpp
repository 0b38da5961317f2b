// SPDX-License-Identifier: AGPL-3.0-or-later
// A CUDA driver without a GPU: enough of libcuda for the real cuda.core to run on, made to show mistakes every time.
//
// Device memory is host memory. Work is queued and runs as late as the CUDA model allows (LAZY), at once (EAGER), or in
// any allowed order, drawn from a seed (RANDOM): reading too early finds what was there before, and reading too late
// finds what came after. New memory is full of 0xCD, freed memory of 0xDD and is not handed out again for long. Copies
// outside live memory, like work that fails, leave a fault that every later call reports, as a GPU does.
//
// Tests inject failures (fake_fail), leave out waits (fake_skip) and count calls and live objects. Kernels are host
// functions that tests register by name; a host function of the engine's is queued with fake_enqueue.
//
// No lock is held while work runs: it may call back into Python, which may wait for a lock of its own.

#include <cuda.h>
#include <dlfcn.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using Work = std::function<CUresult()>;
using Lock = std::unique_lock<std::mutex>;
using KernelFunction = void (*)(void** parameters, const unsigned* grid, const unsigned* block);

using Time = std::chrono::steady_clock::time_point;

struct Stream;

struct Op {
    Work work;
    Stream* source = nullptr;  // a wait: until `source` has done `count` of its operations
    uint64_t count = 0;
};

struct Graph {
    std::vector<Op> ops;
};

struct Stream {
    explicit Stream(int on) : device(on) {}
    int device;
    std::deque<Op> queue;
    uint64_t queued = 0, done = 0;
    bool running = false;
    bool alive = true;
    unsigned flags = 0;
    int priority = 0;
    Graph* capture = nullptr;
    bool invalidated = false;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
    std::thread::id capturer;
};

struct Event {
    int device = 0;
    Stream* stream = nullptr;
    uint64_t count = 0;
    unsigned flags = 0;
    int polls = 0;
    std::shared_ptr<Time> passed;  // of an event that tells times: when the work before it was done
};

struct Kernel {
    std::string name;
    KernelFunction function = nullptr;
    std::vector<size_t> offsets, sizes;
};

struct Block {
    size_t size;
    bool host;
    bool alive;
    int device;
};

struct Injection {
    long at;  // this call from now, 1 is the next
    int code; // SKIP: succeed without doing anything
};

enum Schedule { LAZY, EAGER, RANDOM };
constexpr int SKIP = -1;
constexpr int POLLS = 2;  // an event that is asked for this often has passed
constexpr size_t ALIGNMENT = 512;
constexpr size_t QUARANTINE = size_t{256} << 20;  // bytes of freed memory that are kept from being used again

std::mutex mutex_;
std::condition_variable idle_;
std::map<uintptr_t, Block> blocks_;
std::deque<uintptr_t> freed_;  // oldest first
size_t freed_bytes_ = 0;
std::map<std::string, std::shared_ptr<Kernel>> kernels_;
std::map<std::string, long> calls_;
std::multimap<std::string, Injection> injections_;
std::set<Stream*> streams_;
std::vector<std::unique_ptr<Stream>> graveyard_;  // events may still name a stream that was destroyed
std::map<std::string, long> live_;
constexpr int MOST_GPUS = 4;
Stream legacy_[MOST_GPUS] = {Stream(0), Stream(1), Stream(2), Stream(3)};
CUresult fault_ = CUDA_SUCCESS;
Schedule schedule_ = LAZY;
uint64_t random_ = 1;
bool plugged_ = true;
bool paused_ = false;  // waiting for an event does not even begin
int driver_version_ = 13000;
int capability_ = 86;
int gpus_ = 1;
unsigned context_flags_ = 0;
int retained_ = 0;
int context_tokens_[MOST_GPUS], pool_token_ = 0, user_object_token_ = 0;
thread_local CUcontext current_ = nullptr;

// What the decoder of each GPU takes, as the driver's video library says it: `CUVIDDECODECAPS`.
struct DecoderCaps {
    int codec, chroma;
    unsigned bits_above_8, reserved_1[3];
    unsigned char supported, engines;
    unsigned short output_formats;
    unsigned most_width, most_height, most_macroblocks;
    unsigned short least_width, least_height;
    unsigned char histogram[4];
    unsigned reserved_2[10];
};
static_assert(sizeof(DecoderCaps) == 88, "as long as the library's");
DecoderCaps caps_[MOST_GPUS];
bool caps_held_ = false;  // whoever asks waits

CUcontext context_of(CUdevice device) { return reinterpret_cast<CUcontext>(&context_tokens_[device]); }
int device_of(CUcontext context) { return static_cast<int>(reinterpret_cast<int*>(context) - context_tokens_); }
int current_device() { return current_ == nullptr ? 0 : device_of(current_); }
bool is_legacy(const Stream* stream) { return stream >= legacy_ && stream < legacy_ + MOST_GPUS; }

Stream* stream_of(CUstream handle) {
    auto value = reinterpret_cast<uintptr_t>(handle);
    return value <= 2 ? &legacy_[current_device()] : reinterpret_cast<Stream*>(handle);
}

// Count a call and return what a test wants to happen instead of it.
bool injected(const char* name, CUresult* result) {
    calls_[name]++;
    auto range = injections_.equal_range(name);
    for (auto it = range.first; it != range.second; ++it) {
        if (--it->second.at == 0) {
            int code = it->second.code;
            injections_.erase(it);
            *result = code == SKIP ? CUDA_SUCCESS : static_cast<CUresult>(code);
            return true;
        }
    }
    return false;
}

#define ENTER(name)                                   \
    Lock lock(mutex_);                                \
    if (CUresult injected_result; injected(name, &injected_result)) return injected_result

#define FAULT_CHECK() \
    if (fault_ != CUDA_SUCCESS) return fault_

#define EXPORT extern "C" __attribute__((visibility("default")))
#define API EXPORT CUresult

uint64_t draw(uint64_t below) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_ % below;
}

// ---------------------------------------------------------------- queues

bool is_ready(const Stream* stream) {
    if (stream->running || stream->queue.empty()) return false;
    const Op& front = stream->queue.front();
    return front.source == nullptr || front.source->done >= front.count;
}

void run_front(Stream* stream, Lock& lock) {
    Op op = std::move(stream->queue.front());
    stream->queue.pop_front();
    if (op.work && fault_ == CUDA_SUCCESS) {
        stream->running = true;
        lock.unlock();
        CUresult result = op.work();
        op.work = nullptr;
        lock.lock();
        stream->running = false;
        if (result != CUDA_SUCCESS && fault_ == CUDA_SUCCESS) fault_ = result;
    }
    stream->done++;
    idle_.notify_all();
}

void make_progress(Lock& lock);

// Run `stream` until `count` operations are done. Without `patient`, return false rather than wait for another thread.
bool drain(Stream* stream, uint64_t count, Lock& lock, bool patient = true) {
    while (stream->done < count) {
        if (schedule_ == RANDOM) make_progress(lock);
        if (stream->done >= count) break;
        if (stream->running) {
            if (!patient) return false;
            idle_.wait(lock);
        } else if (is_ready(stream)) {
            run_front(stream, lock);
        } else {
            Stream* source = stream->queue.front().source;
            uint64_t needed = stream->queue.front().count;
            if (!drain(source, needed, lock, patient)) return false;
        }
    }
    return true;
}

void drain_all(Lock& lock) {
    std::vector<Stream*> all(streams_.begin(), streams_.end());
    for (Stream& legacy : legacy_) all.push_back(&legacy);
    for (Stream* stream : all) drain(stream, stream->queued, lock);
}

std::vector<Stream*> ready_streams() {
    std::vector<Stream*> ready;
    for (Stream* stream : streams_)
        if (is_ready(stream)) ready.push_back(stream);
    for (Stream& legacy : legacy_)
        if (is_ready(&legacy)) ready.push_back(&legacy);
    return ready;
}

// What a GPU may have done by the time that a call returns.
void make_progress(Lock& lock) {
    if (schedule_ == LAZY) return;
    uint64_t steps = schedule_ == EAGER ? UINT64_MAX : draw(4);
    for (; steps > 0; --steps) {
        std::vector<Stream*> ready = ready_streams();
        if (ready.empty()) return;
        run_front(ready[schedule_ == EAGER ? 0 : draw(ready.size())], lock);
    }
}

void push_raw(Stream* stream, Op op) {
    stream->queue.push_back(std::move(op));
    stream->queued++;
}

void push_wait(Stream* stream, Stream* source, uint64_t count) {
    if (source != stream && source->done < count) push_raw(stream, Op{nullptr, source, count});
}

// Queue `work`, or record it where the stream is being captured.
CUresult push(Stream* stream, Work work, Lock& lock) {
    if (!stream->alive) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture != nullptr) {
        stream->capture->ops.push_back(Op{std::move(work)});
        return CUDA_SUCCESS;
    }
    FAULT_CHECK();
    if (is_legacy(stream)) {  // it waits for all blocking streams of its GPU, and they wait for it
        for (Stream* other : streams_)
            if (other->device == stream->device && !(other->flags & CU_STREAM_NON_BLOCKING)) push_wait(stream, other, other->queued);
    } else if (!(stream->flags & CU_STREAM_NON_BLOCKING)) {
        push_wait(stream, &legacy_[stream->device], legacy_[stream->device].queued);
    }
    push_raw(stream, Op{std::move(work)});
    make_progress(lock);
    return CUDA_SUCCESS;
}

// Calls that may not be made while a stream is captured: by the capturing thread, or by any in the global mode.
bool forbidden_by_capture() {
    for (Stream* stream : streams_) {
        if (stream->capture == nullptr || stream->mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
        if (stream->mode == CU_STREAM_CAPTURE_MODE_GLOBAL || stream->capturer == std::this_thread::get_id()) {
            stream->invalidated = true;
            return true;
        }
    }
    return false;
}

CUresult synchronize(Stream* stream, uint64_t count, Lock& lock) {
    if (stream->capture != nullptr) {
        stream->invalidated = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    drain(stream, count, lock);
    return fault_;
}

// ---------------------------------------------------------------- memory

Block* find_block(uintptr_t address, size_t size) {
    auto it = blocks_.upper_bound(address);
    if (it == blocks_.begin()) return nullptr;
    --it;
    return address + size <= it->first + it->second.size ? &it->second : nullptr;
}

bool overlaps_known(uintptr_t address) {
    auto it = blocks_.upper_bound(address);
    return it != blocks_.begin() && address < std::prev(it)->first + std::prev(it)->second.size;
}

bool is_live(uintptr_t address, size_t size) {
    Block* block = find_block(address, size);
    return block != nullptr && block->alive;
}

CUresult allocate(uintptr_t* address, size_t size, bool host, int device) {
    if (current_ == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    if (size == 0) return CUDA_ERROR_INVALID_VALUE;
    if (forbidden_by_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    void* memory = nullptr;
    size_t padded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (posix_memalign(&memory, ALIGNMENT, padded)) return CUDA_ERROR_OUT_OF_MEMORY;
    memset(memory, 0xCD, padded);
    *address = reinterpret_cast<uintptr_t>(memory);
    blocks_[*address] = Block{size, host, true, device};
    live_[host ? "host bytes" : "device bytes"] += static_cast<long>(size);
    return CUDA_SUCCESS;
}

CUresult release(uintptr_t address, bool host) {
    auto it = blocks_.find(address);
    if (it == blocks_.end() || !it->second.alive || it->second.host != host) return CUDA_ERROR_INVALID_VALUE;
    memset(reinterpret_cast<void*>(address), 0xDD, it->second.size);
    it->second.alive = false;
    live_[host ? "host bytes" : "device bytes"] -= static_cast<long>(it->second.size);
    freed_.push_back(address);
    freed_bytes_ += it->second.size;
    while (freed_bytes_ > QUARANTINE) {
        auto oldest = blocks_.find(freed_.front());
        freed_.pop_front();
        freed_bytes_ -= oldest->second.size;
        free(reinterpret_cast<void*>(oldest->first));
        blocks_.erase(oldest);
    }
    return CUDA_SUCCESS;
}

CUresult checked(uintptr_t address, size_t size) {
    std::lock_guard<std::mutex> lock(mutex_);
    return is_live(address, size) ? CUDA_SUCCESS : CUDA_ERROR_ILLEGAL_ADDRESS;
}

// Memory that the driver does not know is pageable: it is read before the call returns, and written before it returns.
CUresult copy(uintptr_t to, uintptr_t from, size_t size, Stream* stream, Lock& lock) {
    bool to_known = overlaps_known(to), from_known = overlaps_known(from);
    auto source = reinterpret_cast<const char*>(from);
    if (!from_known) {
        auto staged = std::make_shared<std::vector<char>>(source, source + size);
        return push(stream, [=] {
            if (CUresult code = checked(to, size)) return code;
            memcpy(reinterpret_cast<void*>(to), staged->data(), size);
            return CUDA_SUCCESS;
        }, lock);
    }
    CUresult code = push(stream, [=] {
        if (CUresult bad = to_known ? checked(to, size) : CUDA_SUCCESS) return bad;
        if (CUresult bad = checked(from, size)) return bad;
        memmove(reinterpret_cast<void*>(to), source, size);
        return CUDA_SUCCESS;
    }, lock);
    if (code == CUDA_SUCCESS && !to_known) return synchronize(stream, stream->queued, lock);
    return code;
}

CUresult fill(uintptr_t to, std::vector<unsigned char> pattern, size_t count, Stream* stream, Lock& lock) {
    return push(stream, [=] {
        if (CUresult code = checked(to, count * pattern.size())) return code;
        auto bytes = reinterpret_cast<unsigned char*>(to);
        for (size_t i = 0; i < count; ++i) memcpy(bytes + i * pattern.size(), pattern.data(), pattern.size());
        return CUDA_SUCCESS;
    }, lock);
}

// One plane of a two-dimensional copy is many rows.
CUresult copy_rows(const CUDA_MEMCPY2D* c, Stream* stream, Lock& lock) {
    auto base = [](CUmemorytype type, CUdeviceptr device, const void* host) {
        return type == CU_MEMORYTYPE_HOST ? reinterpret_cast<uintptr_t>(host) : static_cast<uintptr_t>(device);
    };
    uintptr_t to = base(c->dstMemoryType, c->dstDevice, c->dstHost) + c->dstY * c->dstPitch + c->dstXInBytes;
    uintptr_t from = base(c->srcMemoryType, c->srcDevice, c->srcHost) + c->srcY * c->srcPitch + c->srcXInBytes;
    if (c->WidthInBytes > c->srcPitch || c->WidthInBytes > c->dstPitch) return CUDA_ERROR_INVALID_VALUE;
    size_t rows = c->Height, width = c->WidthInBytes, to_pitch = c->dstPitch, from_pitch = c->srcPitch;
    bool to_known = overlaps_known(to), from_known = overlaps_known(from);
    std::shared_ptr<std::vector<char>> staged;
    if (!from_known) {
        auto first = reinterpret_cast<const char*>(from);
        staged = std::make_shared<std::vector<char>>(first, first + (rows - 1) * from_pitch + width);
    }
    CUresult code = push(stream, [=] {
        for (size_t row = 0; row < rows; ++row) {
            uintptr_t source = (staged ? reinterpret_cast<uintptr_t>(staged->data()) : from) + row * from_pitch;
            if (to_known)
                if (CUresult bad = checked(to + row * to_pitch, width)) return bad;
            if (!staged)
                if (CUresult bad = checked(source, width)) return bad;
            memmove(reinterpret_cast<void*>(to + row * to_pitch), reinterpret_cast<void*>(source), width);
        }
        return CUDA_SUCCESS;
    }, lock);
    if (code == CUDA_SUCCESS && !to_known) return synchronize(stream, stream->queued, lock);
    return code;
}

void queue_graph(Graph* graph, Stream* stream, Lock& lock) {
    for (const Op& op : graph->ops) push(stream, op.work, lock);
}

}  // namespace

// ---------------------------------------------------------------- driver, device, context

API cuInit(unsigned) {
    ENTER("cuInit");
    return plugged_ ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}
// NVRTC opens the driver too, and calls this without looking.
API cuGetExportTable(const void** table, const CUuuid*) {
    *table = nullptr;
    return CUDA_ERROR_NOT_FOUND;
}
API cuDriverGetVersion(int* version) {
    ENTER("cuDriverGetVersion");
    *version = driver_version_;
    return CUDA_SUCCESS;
}
API cuDeviceGetCount(int* count) {
    ENTER("cuDeviceGetCount");
    *count = plugged_ ? gpus_ : 0;
    return CUDA_SUCCESS;
}
API cuDeviceGet(CUdevice* device, int index) {
    ENTER("cuDeviceGet");
    *device = index;
    return index >= 0 && index < gpus_ && plugged_ ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
API cuDeviceGetName(char* name, int size, CUdevice) {
    snprintf(name, static_cast<size_t>(size), "Fake GPU");
    return CUDA_SUCCESS;
}
API cuDeviceTotalMem_v2(size_t* bytes, CUdevice) {
    ENTER("cuDeviceTotalMem");
    *bytes = size_t{12} << 30;
    return CUDA_SUCCESS;
}
API cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
    memset(uuid, 7 + device, sizeof *uuid);
    return CUDA_SUCCESS;
}
API cuDeviceGetPCIBusId(char* text, int size, CUdevice device) {
    snprintf(text, static_cast<size_t>(size), "0000:%02x:00.0", device + 1);
    return CUDA_SUCCESS;
}
API cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = capability_ / 10; break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = capability_ % 10; break;
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: *value = 1; break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: *value = 1024; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: *value = 64; break;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *value = 2147483647; break;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *value = 65535; break;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 28; break;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
        default: *value = 0;
    }
    return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    ENTER("cuDevicePrimaryCtxRetain");
    *context = context_of(device);
    retained_++;
    return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(CUdevice) {
    ENTER("cuDevicePrimaryCtxRelease");
    retained_--;
    return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) {
    ENTER("cuDevicePrimaryCtxGetState");
    *flags = context_flags_;
    *active = retained_ > 0;
    return CUDA_SUCCESS;
}
API cuDevicePrimaryCtxSetFlags_v2(CUdevice, unsigned flags) {
    ENTER("cuDevicePrimaryCtxSetFlags");
    context_flags_ = flags;
    return CUDA_SUCCESS;
}
API cuCtxGetCurrent(CUcontext* context) {
    *context = current_;
    return CUDA_SUCCESS;
}
API cuCtxSetCurrent(CUcontext context) {
    ENTER("cuCtxSetCurrent");
    current_ = context;
    return CUDA_SUCCESS;
}
API cuCtxPushCurrent_v2(CUcontext context) { return cuCtxSetCurrent(context); }
API cuCtxPopCurrent_v2(CUcontext* context) {
    if (context != nullptr) *context = current_;
    current_ = nullptr;
    return CUDA_SUCCESS;
}
API cuCtxGetDevice(CUdevice* device) {
    *device = current_device();
    return current_ == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}
API cuCtxGetDevice_v2(CUdevice* device, CUcontext context) {
    *device = context == nullptr ? current_device() : device_of(context);
    return CUDA_SUCCESS;
}
API cuCtxGetId(CUcontext context, unsigned long long* id) {
    *id = 1 + static_cast<unsigned>(context == nullptr ? current_device() : device_of(context));
    return CUDA_SUCCESS;
}
API cuCtxGetApiVersion(CUcontext, unsigned* version) {
    *version = 13000;
    return CUDA_SUCCESS;
}
API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    *least = 0;
    *greatest = -5;
    return CUDA_SUCCESS;
}
API cuCtxSynchronize() {
    ENTER("cuCtxSynchronize");
    drain_all(lock);
    return fault_;
}
API cuCtxSynchronize_v2(CUcontext) { return cuCtxSynchronize(); }

// ---------------------------------------------------------------- streams and events

API cuStreamCreateWithPriority(CUstream* handle, unsigned flags, int priority) {
    ENTER("cuStreamCreate");
    if (current_ == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    auto* stream = new Stream(current_device());
    stream->flags = flags;
    stream->priority = priority;
    streams_.insert(stream);
    live_["streams"]++;
    *handle = reinterpret_cast<CUstream>(stream);
    return CUDA_SUCCESS;
}
API cuStreamCreate(CUstream* handle, unsigned flags) { return cuStreamCreateWithPriority(handle, flags, 0); }
API cuStreamDestroy_v2(CUstream handle) {
    ENTER("cuStreamDestroy");
    Stream* stream = stream_of(handle);
    if (!stream->alive || is_legacy(stream)) return CUDA_ERROR_INVALID_HANDLE;
    drain(stream, stream->queued, lock);
    stream->alive = false;
    streams_.erase(stream);
    graveyard_.emplace_back(stream);
    live_["streams"]--;
    return CUDA_SUCCESS;
}
API cuStreamSynchronize(CUstream handle) {
    ENTER("cuStreamSynchronize");
    Stream* stream = stream_of(handle);
    return synchronize(stream, stream->queued, lock);
}
API cuStreamQuery(CUstream handle) {
    ENTER("cuStreamQuery");
    Stream* stream = stream_of(handle);
    FAULT_CHECK();
    return stream->done >= stream->queued ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
API cuStreamGetFlags(CUstream handle, unsigned* flags) {
    *flags = stream_of(handle)->flags;
    return CUDA_SUCCESS;
}
API cuStreamGetPriority(CUstream handle, int* priority) {
    *priority = stream_of(handle)->priority;
    return CUDA_SUCCESS;
}
API cuStreamGetCtx(CUstream handle, CUcontext* context) {
    *context = context_of(stream_of(handle)->device);
    return CUDA_SUCCESS;
}
API cuStreamGetCtx_v2(CUstream handle, CUcontext* context, CUgreenCtx* green) {
    *context = context_of(stream_of(handle)->device);
    if (green != nullptr) *green = nullptr;
    return CUDA_SUCCESS;
}
API cuStreamGetDevice(CUstream handle, CUdevice* device) {
    *device = stream_of(handle)->device;
    return CUDA_SUCCESS;
}
API cuStreamGetId(CUstream handle, unsigned long long* id) {
    *id = reinterpret_cast<uintptr_t>(handle);
    return CUDA_SUCCESS;
}
API cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned) {
    ENTER("cuStreamWaitEvent");
    Stream* stream = stream_of(handle);
    auto* event = reinterpret_cast<Event*>(event_handle);
    if (!stream->alive) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture != nullptr) {
        stream->invalidated = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (event->stream != nullptr) push_wait(stream, event->stream, event->count);
    make_progress(lock);
    return CUDA_SUCCESS;
}
API cuEventCreate(CUevent* handle, unsigned flags) {
    ENTER("cuEventCreate");
    auto* event = new Event;
    event->device = current_device();
    event->flags = flags;
    live_["events"]++;
    *handle = reinterpret_cast<CUevent>(event);
    return CUDA_SUCCESS;
}
API cuEventDestroy_v2(CUevent handle) {
    ENTER("cuEventDestroy");
    delete reinterpret_cast<Event*>(handle);
    live_["events"]--;
    return CUDA_SUCCESS;
}
API cuEventRecord(CUevent handle, CUstream stream_handle) {
    ENTER("cuEventRecord");
    Stream* stream = stream_of(stream_handle);
    if (!stream->alive) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture != nullptr) {
        stream->invalidated = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    auto* event = reinterpret_cast<Event*>(handle);
    if (event->device != stream->device) return CUDA_ERROR_INVALID_HANDLE;
    if (is_legacy(stream))
        if (CUresult code = push(stream, [] { return CUDA_SUCCESS; }, lock)) return code;
    if (!(event->flags & CU_EVENT_DISABLE_TIMING)) {
        auto passed = event->passed = std::make_shared<Time>();
        CUresult code = push(stream, [passed] {
            *passed = std::chrono::steady_clock::now();
            return CUDA_SUCCESS;
        }, lock);
        if (code != CUDA_SUCCESS) return code;
    }
    event->stream = stream;
    event->count = stream->queued;
    event->polls = POLLS;
    return fault_;
}
API cuEventRecordWithFlags(CUevent handle, CUstream stream, unsigned) { return cuEventRecord(handle, stream); }
API cuEventQuery(CUevent handle) {
    ENTER("cuEventQuery");
    FAULT_CHECK();
    auto* event = reinterpret_cast<Event*>(handle);
    if (event->stream == nullptr || event->stream->done >= event->count) return CUDA_SUCCESS;
    if (event->polls-- > 0 || !drain(event->stream, event->count, lock, false)) return CUDA_ERROR_NOT_READY;
    return fault_;
}
API cuEventSynchronize(CUevent handle) {
    ENTER("cuEventSynchronize");
    while (paused_) idle_.wait(lock);
    auto* event = reinterpret_cast<Event*>(handle);
    return event->stream == nullptr ? fault_ : synchronize(event->stream, event->count, lock);
}
// The time that the host took for what lies between the two events.
API cuEventElapsedTime_v2(float* milliseconds, CUevent from, CUevent to) {
    ENTER("cuEventElapsedTime");
    auto *first = reinterpret_cast<Event*>(from), *last = reinterpret_cast<Event*>(to);
    if (!first->passed || !last->passed) return CUDA_ERROR_INVALID_HANDLE;
    if (first->stream->done < first->count || last->stream->done < last->count) return CUDA_ERROR_NOT_READY;
    *milliseconds = std::chrono::duration<float, std::milli>(*last->passed - *first->passed).count();
    return fault_;
}

// ---------------------------------------------------------------- memory

API cuMemAlloc_v2(CUdeviceptr* address, size_t size) {
    ENTER("cuMemAlloc");
    uintptr_t memory = 0;
    CUresult code = allocate(&memory, size, false, current_device());
    *address = memory;
    return code;
}
API cuMemGetInfo_v2(size_t* left, size_t* total) {
    ENTER("cuMemGetInfo");
    if (current_ == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    *total = size_t{12} << 30;
    *left = *total - static_cast<size_t>(live_["device bytes"]);
    return CUDA_SUCCESS;
}
API cuMemAllocAsync(CUdeviceptr* address, size_t size, CUstream handle) {
    if (stream_of(handle)->device != current_device()) return CUDA_ERROR_INVALID_CONTEXT;
    return cuMemAlloc_v2(address, size);
}
API cuMemAllocFromPoolAsync(CUdeviceptr* address, size_t size, CUmemoryPool, CUstream handle) {
    return cuMemAllocAsync(address, size, handle);
}
API cuMemFree_v2(CUdeviceptr address) {
    ENTER("cuMemFree");
    if (forbidden_by_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    drain_all(lock);
    return release(address, false);
}
API cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
    ENTER("cuMemFreeAsync");
    Stream* stream = stream_of(handle);
    if (!stream->alive || fault_ != CUDA_SUCCESS) return release(address, false);
    return push(stream, [address] {
        std::lock_guard<std::mutex> inner(mutex_);
        return release(address, false);
    }, lock);
}
API cuMemAllocHost_v2(void** memory, size_t size) {
    ENTER("cuMemAllocHost");
    uintptr_t address = 0;
    CUresult code = allocate(&address, size, true, current_device());
    *memory = reinterpret_cast<void*>(address);
    return code;
}
API cuMemHostAlloc(void** memory, size_t size, unsigned) { return cuMemAllocHost_v2(memory, size); }
API cuMemFreeHost(void* memory) {
    ENTER("cuMemFreeHost");
    return release(reinterpret_cast<uintptr_t>(memory), true);
}
API cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice) {
    *pool = reinterpret_cast<CUmemoryPool>(&pool_token_);
    return CUDA_SUCCESS;
}
API cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice device) { return cuDeviceGetDefaultMemPool(pool, device); }
API cuMemGetMemPool(CUmemoryPool* pool, CUmemLocation*, CUmemAllocationType) {
    return cuDeviceGetDefaultMemPool(pool, 0);
}
API cuMemPoolSetAttribute(CUmemoryPool, CUmemPool_attribute, void*) { return CUDA_SUCCESS; }
API cuMemPoolGetAttribute(CUmemoryPool, CUmemPool_attribute, void* value) {
    *static_cast<cuuint64_t*>(value) = 0;
    return CUDA_SUCCESS;
}
API cuMemPoolGetAccess(CUmemAccess_flags* flags, CUmemoryPool, CUmemLocation*) {
    *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    return CUDA_SUCCESS;
}
API cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream handle) {
    ENTER("cuMemcpyAsync");
    return copy(to, from, size, stream_of(handle), lock);
}
API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t size, CUstream handle) {
    return cuMemcpyAsync(to, reinterpret_cast<uintptr_t>(from), size, handle);
}
API cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, CUstream handle) {
    return cuMemcpyAsync(reinterpret_cast<uintptr_t>(to), from, size, handle);
}
API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream handle) {
    return cuMemcpyAsync(to, from, size, handle);
}
API cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* parameters, CUstream handle) {
    ENTER("cuMemcpy2DAsync");
    return copy_rows(parameters, stream_of(handle), lock);
}
API cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream handle) {
    ENTER("cuMemsetD8Async");
    return fill(to, {value}, count, stream_of(handle), lock);
}
API cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream handle) {
    ENTER("cuMemsetD32Async");
    std::vector<unsigned char> pattern(4);
    memcpy(pattern.data(), &value, 4);
    return fill(to, pattern, count, stream_of(handle), lock);
}
API cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** data, CUdeviceptr address) {
    std::lock_guard<std::mutex> lock(mutex_);
    Block* block = find_block(address, 1);
    for (unsigned i = 0; i < count; ++i) {
        switch (attributes[i]) {
            case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
                *static_cast<unsigned*>(data[i]) =
                    block == nullptr ? 0 : block->host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
                break;
            case CU_POINTER_ATTRIBUTE_IS_MANAGED: *static_cast<unsigned*>(data[i]) = 0; break;
            case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
                *static_cast<int*>(data[i]) = block == nullptr ? 0 : block->device;
                break;
            default: break;
        }
    }
    return CUDA_SUCCESS;
}

// ---------------------------------------------------------------- kernels

API cuLibraryLoadData(CUlibrary* library, const void* code, CUjit_option*, void**, unsigned, CUlibraryOption*, void**,
                      unsigned) {
    ENTER("cuLibraryLoadData");
    if (memcmp(code, "\x7f" "ELF", 4) != 0) return CUDA_ERROR_INVALID_IMAGE;  // cubins only, no PTX
    live_["libraries"]++;
    *library = reinterpret_cast<CUlibrary>(new int(0));
    return CUDA_SUCCESS;
}
API cuLibraryUnload(CUlibrary library) {
    ENTER("cuLibraryUnload");
    live_["libraries"]--;
    delete reinterpret_cast<int*>(library);
    return CUDA_SUCCESS;
}
API cuLibraryGetKernel(CUkernel* handle, CUlibrary, const char* name) {
    ENTER("cuLibraryGetKernel");
    auto found = kernels_.find(name);
    if (found == kernels_.end()) return CUDA_ERROR_NOT_FOUND;
    *handle = reinterpret_cast<CUkernel>(found->second.get());
    return CUDA_SUCCESS;
}
API cuKernelGetParamInfo(CUkernel handle, size_t index, size_t* offset, size_t* size) {
    auto* kernel = reinterpret_cast<Kernel*>(handle);
    if (index >= kernel->sizes.size()) return CUDA_ERROR_INVALID_VALUE;
    if (offset != nullptr) *offset = kernel->offsets[index];
    if (size != nullptr) *size = kernel->sizes[index];
    return CUDA_SUCCESS;
}
API cuKernelGetFunction(CUfunction* function, CUkernel kernel) {
    *function = reinterpret_cast<CUfunction>(kernel);
    return CUDA_SUCCESS;
}
API cuKernelGetLibrary(CUlibrary* library, CUkernel) {
    *library = reinterpret_cast<CUlibrary>(&context_tokens_[0]);
    return CUDA_SUCCESS;
}
API cuKernelGetAttribute(int* value, CUfunction_attribute, CUkernel, CUdevice) {
    *value = 0;
    return CUDA_SUCCESS;
}
API cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** parameters, void**) {
    ENTER("cuLaunchKernel");
    if (current_ == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    if (stream_of(config->hStream)->device != current_device()) return CUDA_ERROR_INVALID_HANDLE;
    auto* kernel = reinterpret_cast<Kernel*>(function);
    std::vector<std::string> values;  // the driver takes the parameters' values now
    for (size_t i = 0; i < kernel->sizes.size(); ++i)
        values.emplace_back(static_cast<const char*>(parameters[i]), kernel->sizes[i]);
    std::vector<unsigned> grid{config->gridDimX, config->gridDimY, config->gridDimZ};
    std::vector<unsigned> block{config->blockDimX, config->blockDimY, config->blockDimZ};
    if (size_t{block[0]} * block[1] * block[2] > 1024 || grid[1] > 65535 || grid[2] > 65535 || grid[0] == 0 ||
        grid[1] == 0 || grid[2] == 0)
        return CUDA_ERROR_INVALID_VALUE;
    return push(stream_of(config->hStream), [=] {
        std::vector<std::string> held = values;
        std::vector<void*> pointers;
        for (std::string& value : held) pointers.push_back(value.data());
        kernel->function(pointers.data(), grid.data(), block.data());
        return CUDA_SUCCESS;
    }, lock);
}
API cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, CUstream stream, void** parameters, void** extra) {
    CUlaunchConfig config{};
    config.gridDimX = gx, config.gridDimY = gy, config.gridDimZ = gz;
    config.blockDimX = bx, config.blockDimY = by, config.blockDimZ = bz;
    config.sharedMemBytes = shared;
    config.hStream = stream;
    return cuLaunchKernelEx(&config, function, parameters, extra);
}

// ---------------------------------------------------------------- graphs

API cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    ENTER("cuStreamBeginCapture");
    Stream* stream = stream_of(handle);
    if (is_legacy(stream) || stream->capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    stream->capture = new Graph;
    stream->invalidated = false;
    stream->mode = mode;
    stream->capturer = std::this_thread::get_id();
    live_["graphs"]++;
    return CUDA_SUCCESS;
}
API cuStreamEndCapture(CUstream handle, CUgraph* graph) {
    ENTER("cuStreamEndCapture");
    Stream* stream = stream_of(handle);
    Graph* captured = stream->capture;
    stream->capture = nullptr;
    if (captured == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
    if (stream->invalidated) {
        delete captured;
        live_["graphs"]--;
        *graph = nullptr;
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    *graph = reinterpret_cast<CUgraph>(captured);
    return CUDA_SUCCESS;
}
API cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
    std::lock_guard<std::mutex> lock(mutex_);
    Stream* stream = stream_of(handle);
    *status = stream->capture == nullptr ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->invalidated      ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                         : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}
API cuStreamGetCaptureInfo_v3(CUstream handle, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph,
                              const CUgraphNode** dependencies, const CUgraphEdgeData** edges, size_t* count) {
    cuStreamIsCapturing(handle, status);
    if (id != nullptr) *id = 1;
    if (graph != nullptr) *graph = reinterpret_cast<CUgraph>(stream_of(handle)->capture);
    if (dependencies != nullptr) *dependencies = nullptr;
    if (edges != nullptr) *edges = nullptr;
    if (count != nullptr) *count = 0;
    return CUDA_SUCCESS;
}
API cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long) {
    ENTER("cuGraphInstantiate");
    *executable = reinterpret_cast<CUgraphExec>(new Graph(*reinterpret_cast<Graph*>(graph)));
    live_["executable graphs"]++;
    return CUDA_SUCCESS;
}
API cuGraphInstantiateWithParams(CUgraphExec* executable, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
    parameters->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
    return cuGraphInstantiateWithFlags(executable, graph, 0);
}
API cuGraphLaunch(CUgraphExec executable, CUstream handle) {
    ENTER("cuGraphLaunch");
    FAULT_CHECK();
    queue_graph(reinterpret_cast<Graph*>(executable), stream_of(handle), lock);
    return CUDA_SUCCESS;
}
API cuGraphUpload(CUgraphExec, CUstream) { return CUDA_SUCCESS; }
API cuGraphDestroy(CUgraph graph) {
    ENTER("cuGraphDestroy");
    delete reinterpret_cast<Graph*>(graph);
    live_["graphs"]--;
    return CUDA_SUCCESS;
}
API cuGraphExecDestroy(CUgraphExec executable) {
    ENTER("cuGraphExecDestroy");
    delete reinterpret_cast<Graph*>(executable);
    live_["executable graphs"]--;
    return CUDA_SUCCESS;
}
API cuGraphGetNodes(CUgraph, CUgraphNode*, size_t* count) {
    *count = 0;
    return CUDA_SUCCESS;
}
API cuUserObjectCreate(CUuserObject* object, void*, CUhostFn, unsigned, unsigned) {
    *object = reinterpret_cast<CUuserObject>(&user_object_token_);
    return CUDA_SUCCESS;
}
API cuUserObjectRelease(CUuserObject, unsigned) { return CUDA_SUCCESS; }
API cuGraphRetainUserObject(CUgraph, CUuserObject, unsigned, unsigned) { return CUDA_SUCCESS; }
API cuGraphReleaseUserObject(CUgraph, CUuserObject, unsigned) { return CUDA_SUCCESS; }

// ---------------------------------------------------------------- errors and symbols

API cuGetErrorName(CUresult code, const char** name) {
    switch (code) {
        case CUDA_SUCCESS: *name = "CUDA_SUCCESS"; break;
        case CUDA_ERROR_OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
        case CUDA_ERROR_ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
        case CUDA_ERROR_LAUNCH_FAILED: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
        case CUDA_ERROR_NOT_READY: *name = "CUDA_ERROR_NOT_READY"; break;
        default: *name = "CUDA_ERROR_OTHER";
    }
    return CUDA_SUCCESS;
}
API cuGetErrorString(CUresult code, const char** text) { return cuGetErrorName(code, text); }

API cuGetProcAddress_v2(const char* name, void** function, int, cuuint64_t, CUdriverProcAddressQueryResult* status) {
    static void* self = [] {
        Dl_info info;
        dladdr(reinterpret_cast<void*>(&cuInit), &info);
        return dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    }();
    *function = nullptr;
    for (const char* suffix : {"_v3", "_v2", ""}) {
        *function = dlsym(self, (std::string(name) + suffix).c_str());
        if (*function != nullptr) break;
    }
    if (status != nullptr)
        *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *function != nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

// ---------------------------------------------------------------- the driver's video library

API cuvidGetDecoderCaps(DecoderCaps* asked) {
    ENTER("cuvidGetDecoderCaps");
    if (current_ == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    if (!idle_.wait_for(lock, std::chrono::seconds(20), [] { return !caps_held_; })) return CUDA_ERROR_LAUNCH_TIMEOUT;
    if (asked->chroma != 1 || (asked->codec != 4 && asked->codec != 8 && asked->codec != 11))
        return CUDA_ERROR_INVALID_VALUE;
    DecoderCaps answer = caps_[current_device()];
    answer.codec = asked->codec;
    answer.chroma = asked->chroma;
    answer.bits_above_8 = asked->bits_above_8;
    *asked = answer;
    return CUDA_SUCCESS;
}

// ---------------------------------------------------------------- what tests use

// Start afresh: counters, injections, fault and schedule. Live objects stay, and are still counted.
EXPORT void fake_reset() {
    Lock lock(mutex_);
    drain_all(lock);
    fault_ = CUDA_SUCCESS;
    schedule_ = LAZY;
    plugged_ = true;
    driver_version_ = 13000;
    capability_ = 86;
    gpus_ = 1;
    for (DecoderCaps& caps : caps_) {
        caps = DecoderCaps{};
        caps.supported = caps.engines = 1;
        caps.least_width = 48;
        caps.least_height = 16;
        caps.most_width = caps.most_height = 4096;
        caps.most_macroblocks = 65536;
    }
    caps_held_ = false;
    calls_.clear();
    injections_.clear();
}
EXPORT void fake_pause(int paused) {
    std::lock_guard<std::mutex> lock(mutex_);
    paused_ = paused != 0;
    idle_.notify_all();
}
EXPORT void fake_settle() {
    Lock lock(mutex_);
    drain_all(lock);
}
EXPORT void fake_schedule(int schedule, uint64_t seed) {
    std::lock_guard<std::mutex> lock(mutex_);
    schedule_ = static_cast<Schedule>(schedule);
    random_ = seed * 2654435761u + 88172645463325252ull;
}
EXPORT void fake_machine(int plugged, int driver_version, int capability) {
    std::lock_guard<std::mutex> lock(mutex_);
    plugged_ = plugged != 0;
    driver_version_ = driver_version;
    capability_ = capability;
}
// Say what the decoder of one GPU takes.
EXPORT void fake_decoder(int device, int supported, int engines, unsigned most_macroblocks) {
    std::lock_guard<std::mutex> lock(mutex_);
    caps_[device].supported = static_cast<unsigned char>(supported);
    caps_[device].engines = static_cast<unsigned char>(engines);
    caps_[device].most_macroblocks = most_macroblocks;
}
// Let whoever asks what the decoder takes wait until this is taken back.
EXPORT void fake_hold_caps(int held) {
    std::lock_guard<std::mutex> lock(mutex_);
    caps_held_ = held != 0;
    idle_.notify_all();
}
// Show so many GPUs, all alike; a stream, an event and memory belong to the one that was current.
EXPORT void fake_gpus(int count) {
    std::lock_guard<std::mutex> lock(mutex_);
    gpus_ = count < MOST_GPUS ? count : MOST_GPUS;
}
// Let the call number `at` of `name` from now on return `code`; SKIP (-1): succeed and do nothing.
EXPORT void fake_inject(const char* name, long at, int code) {
    std::lock_guard<std::mutex> lock(mutex_);
    injections_.emplace(name, Injection{at, code});
}
EXPORT long fake_calls(const char* name) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = calls_.find(name);
    return found == calls_.end() ? 0 : found->second;
}
EXPORT long fake_live(const char* kind) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = live_.find(kind);
    return found == live_.end() ? 0 : found->second;
}
EXPORT int fake_fault() {
    std::lock_guard<std::mutex> lock(mutex_);
    return fault_;
}
EXPORT unsigned fake_context_flags() { return context_flags_; }
// Whether [address, address + size) lies within one live allocation.
EXPORT int fake_is_live(uint64_t address, uint64_t size) {
    std::lock_guard<std::mutex> lock(mutex_);
    return is_live(address, size);
}
EXPORT int fake_is_capturing(uint64_t stream) {
    std::lock_guard<std::mutex> lock(mutex_);
    return stream_of(reinterpret_cast<CUstream>(stream))->capture != nullptr;
}
EXPORT void fake_kernel(const char* name, KernelFunction function, int count, const uint64_t* sizes) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto kernel = std::make_shared<Kernel>();
    kernel->name = name;
    kernel->function = function;
    size_t offset = 0;
    for (int i = 0; i < count; ++i) {
        offset = (offset + sizes[i] - 1) / sizes[i] * sizes[i];
        kernel->offsets.push_back(offset);
        kernel->sizes.push_back(sizes[i]);
        offset += sizes[i];
    }
    kernels_[name] = kernel;
}
// Queue a host function on a stream as if it were a kernel; it returns 0 or a CUDA error.
EXPORT int fake_enqueue(uint64_t stream, int (*function)(uint64_t), uint64_t argument) {
    Lock lock(mutex_);
    return push(stream_of(reinterpret_cast<CUstream>(stream)),
                [=] { return static_cast<CUresult>(function(argument)); }, lock);
}
