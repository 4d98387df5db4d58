// The addon's exports: CpuDevice, isas(), ceiling(). Nothing here is global: it loads in any number of workers.
#include <napi.h>

#include "arguments.h"
#include "cpuDevice.h"
#include "measure.h"

namespace lenggen {
namespace {

// isas() -> { name, supported }[], narrowest first.
Napi::Value listIsas(const Napi::CallbackInfo& info) {
  Napi::Array result = Napi::Array::New(info.Env());
  for (const Isa& isa : isas()) {
    Napi::Object entry = Napi::Object::New(info.Env());
    entry.Set("name", isa.name);
    entry.Set("supported", isa.supported);
    result.Set(result.Length(), entry);
  }
  return result;
}

class CeilingWorker : public Napi::AsyncWorker {
 public:
  CeilingWorker(Napi::Env env, const Isa& isa, int threads)
      : Napi::AsyncWorker(env, "lenggen.ceiling"), isa_(isa), threads_(threads), promise_(Napi::Promise::Deferred::New(env)) {}

  Napi::Promise promise() const { return promise_.Promise(); }

 protected:
  void Execute() override { result_ = measureCeiling(isa_, threads_); }

  void OnOK() override {
    Napi::Object object = Napi::Object::New(Env());
    object.Set("gflopsOneThread", result_.gflopsOneThread);
    object.Set("gflopsAllThreads", result_.gflopsAllThreads);
    object.Set("gexpOneThread", result_.gexpOneThread);
    object.Set("gexpAllThreads", result_.gexpAllThreads);
    object.Set("copyGBs", result_.copyGBs);
    promise_.Resolve(object);
  }

  void OnError(const Napi::Error& error) override { promise_.Reject(jsError(Env(), "E_MEMORY", error.Message()).Value()); }

 private:
  const Isa& isa_;
  const int threads_;
  const Napi::Promise::Deferred promise_;
  Ceiling result_{};
};

// ceiling(threads, isa) -> Promise<{ gflopsOneThread, gflopsAllThreads, gexpOneThread, gexpAllThreads, copyGBs }>
Napi::Value ceiling(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int threads = wholeArgument(info, 0, "threads", 1, 256);
    const Isa& isa = findIsa(stringArgument(info, 1, "isa"));
    auto* worker = new CeilingWorker(info.Env(), isa, threads);
    const Napi::Promise promise = worker->promise();
    worker->Queue();
    return promise;
  });
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("CpuDevice", CpuDevice::define(env));
  exports.Set("isas", Napi::Function::New<listIsas>(env, "isas"));
  exports.Set("ceiling", Napi::Function::New<ceiling>(env, "ceiling"));
  return exports;
}

}  // namespace

NODE_API_MODULE(lenggen_cpu, initialize)

}  // namespace lenggen
