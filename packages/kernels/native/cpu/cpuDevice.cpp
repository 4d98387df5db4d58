#include "cpuDevice.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "arguments.h"

namespace lenggen {
namespace {

constexpr size_t MOST_SPARE = 4, MOST_SPARE_BYTES = size_t{4} << 20;

}  // namespace

Napi::Function CpuDevice::define(Napi::Env env) {
  return DefineClass(env, "CpuDevice",
                     {
                         InstanceMethod<&CpuDevice::launch>("launch"),
                         InstanceMethod<&CpuDevice::allocate>("allocate"),
                         InstanceMethod<&CpuDevice::grow>("grow"),
                         InstanceMethod<&CpuDevice::free>("free"),
                         InstanceMethod<&CpuDevice::write>("write"),
                         InstanceMethod<&CpuDevice::read>("read"),
                         InstanceMethod<&CpuDevice::memory>("memory"),
                         InstanceMethod<&CpuDevice::resetPeak>("resetPeak"),
                         InstanceMethod<&CpuDevice::profile>("profile"),
                         InstanceMethod<&CpuDevice::resetProfile>("resetProfile"),
                         InstanceMethod<&CpuDevice::close>("close"),
                         InstanceMethod<&CpuDevice::describe>("describe"),
                     });
}

CpuDevice::CpuDevice(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CpuDevice>(info) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    threads_ = wholeArgument(info, 0, "threads", 1, 256);
    isa_ = &findIsa(stringArgument(info, 1, "isa"));
    const size_t limit = bytesArgument(info, 2, "memoryLimit");
    const size_t scratchLimit = bytesArgument(info, 3, "scratchLimit");
    for (const Family* family = isa_->families; family->kernels != nullptr; family++) {
      for (const Kernel* kernel = family->kernels; kernel->name != nullptr; kernel++) kernels_.push_back(kernel);
    }
    usage_ = std::make_unique<Usage[]>(kernels_.size());
    const napi_value name = Napi::String::New(env, "lenggen");
    if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, onFinished, &finished_) != napi_ok) {
      throw Failure("E_DEVICE", "Node has no room for the device's queue");
    }
    // Nobody waits yet: an idle device does not keep the process alive.
    napi_unref_threadsafe_function(env, finished_);
    try {
      queue_ = std::make_unique<Queue>(threads_, scratchLimit, [function = finished_](Ticket* ticket) {
        napi_call_threadsafe_function(function, ticket, napi_tsfn_nonblocking);
      });
      allocator_ = std::make_unique<Allocator>(*queue_, limit);
    } catch (...) {
      queue_.reset();
      napi_release_threadsafe_function(finished_, napi_tsfn_abort);
      throw;
    }
    // After the function above was made, so that it runs before that is taken down.
    napi_add_env_cleanup_hook(env, onTeardown, this);
  });
}

CpuDevice::~CpuDevice() {
  // The garbage collector's way to close. No read is pending: each holds a reference to the device.
  if (queue_) {
    napi_remove_env_cleanup_hook(Env(), onTeardown, this);
    shutDown(false);
  }
}

// The worker or process ends. The kernel that runs is finished, the rest dropped; promises stay unsettled.
void CpuDevice::onTeardown(void* self) { static_cast<CpuDevice*>(self)->shutDown(true); }

void CpuDevice::shutDown(bool abandon) {
  queue_->stop(abandon);
  allocator_.reset();
  queue_.reset();
  spare_.clear();
  // What the queue has finished is still delivered, unless the environment goes away.
  napi_release_threadsafe_function(finished_, abandon ? napi_tsfn_abort : napi_tsfn_release);
}

void CpuDevice::requireOpen() const {
  if (!queue_) throw Failure("E_DEVICE", "the device is closed");
}

// launch(kernel, arguments, buffers, numbers): the arguments are id, byteOffset, byteLength and type (of BufferType) of each buffer
// (id -1: absent), then the numbers.
Napi::Value CpuDevice::launch(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    requireOpen();
    const int index = wholeArgument(info, 0, "kernel", 0, static_cast<int>(kernels_.size()) - 1);
    size_t length = 0;
    const double* values = static_cast<const double*>(arrayArgument(info, 1, "arguments", napi_float64_array, &length));
    const int buffers = wholeArgument(info, 2, "buffers", 0, 1 << 20);
    const int numbers = wholeArgument(info, 3, "numbers", 0, 1 << 20);
    if (static_cast<size_t>(buffers) * 4 + static_cast<size_t>(numbers) > length) throw Failure("E_ARGUMENT", "arguments are too few");

    const Kernel& kernel = *kernels_[static_cast<size_t>(index)];
    Task& task = queue_->next();
    task.kind = Task::Kind::launch;
    task.kernel = &kernel;
    task.usage = &usage_[static_cast<size_t>(index)];
    try {
      task.buffers.clear();
      for (int i = 0; i < buffers; i++, values += 4) {
        Buffer buffer = values[0] == -1 ? Buffer{nullptr, 0} : allocator_->window(values[0], values[1], values[2]);
        buffer.type = values[3] == 1 ? BufferType::i32 : values[3] == 2 ? BufferType::f16 : BufferType::f32;
        task.buffers.push_back(buffer);
      }
      task.numbers.assign(values, values + numbers);
      kernel.check({task.buffers.data(), buffers, task.numbers.data(), numbers});
    } catch (const std::invalid_argument& error) {
      throw Failure("E_ARGUMENT", std::string("kernel ") + kernel.name + ": " + error.what());
    } catch (const Failure& failure) {
      throw Failure(failure.code(), std::string("kernel ") + kernel.name + ": " + failure.what());
    }
    queue_->submit();
    return {};
  });
}

// allocate(bytes) -> id
Napi::Value CpuDevice::allocate(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    requireOpen();
    return Napi::Number::New(info.Env(), allocator_->allocate(numberArgument(info, 0, "bytes")));
  });
}

// grow(id, bytes)
Napi::Value CpuDevice::grow(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    requireOpen();
    allocator_->grow(numberArgument(info, 0, "id"), numberArgument(info, 1, "bytes"));
    return {};
  });
}

// free(id). On a closed device all memory is gone already.
Napi::Value CpuDevice::free(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (queue_) allocator_->free(numberArgument(info, 0, "id"));
    return {};
  });
}

// write(id, byteOffset, bytes)
Napi::Value CpuDevice::write(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    requireOpen();
    size_t length = 0;
    const void* bytes = arrayArgument(info, 2, "bytes", napi_uint8_array, &length);
    const Buffer target = allocator_->window(numberArgument(info, 0, "id"), numberArgument(info, 1, "byteOffset"),
        static_cast<double>(length));
    queue_->write(target.data, bytes, length);
    return {};
  });
}

// read(id, byteOffset, byteLength, into?) -> Promise<Uint8Array>: `into`, which must have that length, or a new array. id -1 waits and
// reads nothing.
Napi::Value CpuDevice::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    requireOpen();
    const double id = numberArgument(info, 0, "id");
    const Buffer source = id == -1 ? Buffer{nullptr, 0} : allocator_->window(id, numberArgument(info, 1, "byteOffset"),
        numberArgument(info, 2, "byteLength"));
    auto read = std::make_unique<Read>(env);
    read->bytes = source.bytes;
    Napi::Uint8Array array;
    void* target = nullptr;
    if (info.Length() > 3 && !info[3].IsUndefined()) {
      size_t length = 0;
      arrayArgument(info, 3, "into", napi_uint8_array, &length);
      if (length != source.bytes) throw Failure("E_ARGUMENT",
          "into has " + std::to_string(length) + " bytes for " + std::to_string(source.bytes));
      array = info[3].As<Napi::Uint8Array>();
      read->staging = takeStaging(length);
      target = read->staging.data.get();
    } else {
      // Throws a RangeError, caught and named below, when JavaScript has no room.
      try {
        array = Napi::Uint8Array::New(env, source.bytes);
      } catch (const Napi::Error&) {
        throw Failure("E_MEMORY", "JavaScript has no room for " + std::to_string(source.bytes) + " bytes to be read");
      }
      target = array.Data();
    }
    read->array = Napi::Persistent(array);
    if (pending_++ == 0) {
      Ref();
      napi_ref_threadsafe_function(env, finished_);
    }
    const Napi::Promise promise = read->promise.Promise();
    queue_->read(target, source.data, source.bytes, read.release());
    return promise;
  });
}

// On the JavaScript thread, with a read that the queue has finished.
void CpuDevice::onFinished(napi_env env, napi_value, void* context, void* data) {
  // At teardown there is no JavaScript to tell, and the references of `data` are gone with it.
  if (env == nullptr) return;
  auto* self = static_cast<CpuDevice*>(context);
  const std::unique_ptr<Read> read(static_cast<Read*>(data));
  // A worker that is being terminated still delivers, but every call into its JavaScript fails, and this function has
  // no caller who could catch that: the promise stays unsettled, as at teardown.
  try {
    const Napi::HandleScope scope(env);
    settle(env, *read);
    self->giveBack(std::move(read->staging));
    if (--self->pending_ == 0) {
      if (self->queue_) napi_unref_threadsafe_function(env, self->finished_);
      self->Unref();
    }
  } catch (const Napi::Error&) {
    return;
  }
}

void CpuDevice::settle(Napi::Env env, Read& read) {
  if (read.failure) return read.promise.Reject(jsError(env, read.failure->code(), read.failure->what()).Value());
  Napi::Uint8Array array = read.array.Value();
  if (read.staging.data) {
    if (array.ByteLength() != read.bytes) {
      return read.promise.Reject(jsError(env, "E_ARGUMENT", "into was transferred or resized while it was read into").Value());
    }
    if (read.bytes > 0) std::memcpy(array.Data(), read.staging.data.get(), read.bytes);
  }
  read.promise.Resolve(array);
}

CpuDevice::Staging CpuDevice::takeStaging(size_t bytes) {
  for (auto spare = spare_.begin(); spare != spare_.end(); ++spare) {
    if (spare->bytes < bytes) continue;
    Staging found = std::move(*spare);
    spare_.erase(spare);
    return found;
  }
  return {std::unique_ptr<char[]>(new char[std::max<size_t>(bytes, 1)]), bytes};
}

// A few are kept, the last ones, for a stream that reads the same sizes again and again.
void CpuDevice::giveBack(Staging staging) {
  if (!queue_ || !staging.data || staging.bytes > MOST_SPARE_BYTES) return;
  if (spare_.size() >= MOST_SPARE) spare_.erase(spare_.begin());
  spare_.push_back(std::move(staging));
}

// memory() -> [used, pooled, peak]
Napi::Value CpuDevice::memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    requireOpen();
    Napi::Array result = Napi::Array::New(info.Env(), 3);
    result.Set(0u, static_cast<double>(allocator_->used()));
    result.Set(1u, static_cast<double>(allocator_->pooled()));
    result.Set(2u, static_cast<double>(allocator_->peak()));
    return result;
  });
}

Napi::Value CpuDevice::resetPeak(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    requireOpen();
    allocator_->resetPeak();
    return {};
  });
}

// profile() -> Float64Array: calls and seconds of each kernel, in the order of describe().kernels
Napi::Value CpuDevice::profile(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Float64Array result = Napi::Float64Array::New(info.Env(), 2 * kernels_.size());
    for (size_t i = 0; i < kernels_.size(); i++) {
      result[2 * i] = static_cast<double>(usage_[i].calls.load());
      result[2 * i + 1] = 1e-9 * static_cast<double>(usage_[i].nanoseconds.load());
    }
    return result;
  });
}

Napi::Value CpuDevice::resetProfile(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    for (size_t i = 0; i < kernels_.size(); i++) {
      usage_[i].calls.store(0);
      usage_[i].nanoseconds.store(0);
    }
    return {};
  });
}

// Waits for all queued work, then frees everything. Again: does nothing.
Napi::Value CpuDevice::close(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (queue_) {
      napi_remove_env_cleanup_hook(info.Env(), onTeardown, this);
      shutDown(false);
    }
    return {};
  });
}

// describe() -> { isa, threads, kernels: string[] }
Napi::Value CpuDevice::describe(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Array names = Napi::Array::New(info.Env(), kernels_.size());
    for (size_t i = 0; i < kernels_.size(); i++) names.Set(static_cast<uint32_t>(i), kernels_[i]->name);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("isa", isa_->name);
    result.Set("threads", threads_);
    result.Set("kernels", names);
    return result;
  });
}

}  // namespace lenggen
