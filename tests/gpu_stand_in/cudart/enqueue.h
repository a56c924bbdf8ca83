// How the stand-ins of other libraries put work of theirs into a stream. It is as a kernel there:
// it takes its turn, and unlike a host function it does not hold up the work of other streams.

#pragma once

#include <cstddef>
#include <functional>

#include <cuda_runtime_api.h>

extern "C" {

// `work` is called once, by the stream's thread; or not at all, if the device fails first.
cudaError_t dualpipe_stand_in_enqueue(cudaStream_t stream, const std::function<void()>& work);

// Whether so many bytes can be reached by the stream's device.
bool dualpipe_stand_in_reaches(cudaStream_t stream, const void* memory, std::size_t bytes);
}
