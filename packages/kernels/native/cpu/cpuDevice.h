// The JavaScript object behind an open CPU device.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "allocator.h"
#include "isa.h"
#include "queue.h"

namespace lenggen {

class CpuDevice : public Napi::ObjectWrap<CpuDevice> {
 public:
  static Napi::Function define(Napi::Env env);

  // new CpuDevice(threads, isa, memoryLimit, scratchLimit): bytes for tensors, and for what kernels need while they run
  explicit CpuDevice(const Napi::CallbackInfo& info);
  ~CpuDevice() override;

 private:
  // Memory between the queue and an array that JavaScript owns.
  struct Staging {
    std::unique_ptr<char[]> data;
    size_t bytes = 0;
  };
  // A read that JavaScript waits for. The array keeps the target of the copy alive.
  struct Read : Ticket {
    explicit Read(Napi::Env env) : promise(Napi::Promise::Deferred::New(env)) {}
    Napi::Promise::Deferred promise;
    Napi::Reference<Napi::Uint8Array> array;
    // Empty when the array is new. One that was given may lose its memory at any time: it is written to on JavaScript's thread.
    Staging staging;
    size_t bytes = 0;
  };

  Napi::Value launch(const Napi::CallbackInfo& info);
  Napi::Value allocate(const Napi::CallbackInfo& info);
  Napi::Value grow(const Napi::CallbackInfo& info);
  Napi::Value free(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value resetPeak(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);
  Napi::Value resetProfile(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value describe(const Napi::CallbackInfo& info);

  void requireOpen() const;
  void shutDown(bool abandon);
  Staging takeStaging(size_t bytes);
  void giveBack(Staging staging);
  static void settle(Napi::Env env, Read& read);
  static void onFinished(napi_env env, napi_value function, void* context, void* data);
  static void onTeardown(void* self);

  const Isa* isa_ = nullptr;
  std::vector<const Kernel*> kernels_;
  std::unique_ptr<Usage[]> usage_;  // one for each kernel; outlives the queue
  int threads_ = 1;
  std::unique_ptr<Queue> queue_;  // null once closed
  std::unique_ptr<Allocator> allocator_;
  napi_threadsafe_function finished_ = nullptr;
  size_t pending_ = 0;  // reads that have not been settled
  std::vector<Staging> spare_;
};

}  // namespace lenggen
