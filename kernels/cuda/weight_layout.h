#pragma once

#include "kernels/cuda/layout.h"
#include "kernels/cuda/memory_layout.h"

/// Places of weights in their allocation; the plan and the upload share it. Needs no CUDA header.
namespace pipo::cuda {

inline Matrix take_matrix(const PipoCudaTensor& t, Layout& layout) {
  Matrix m;
  m.type = static_cast<WeightType>(t.type);
  m.group = t.group;
  m.n = t.n;
  m.k = t.k;
  m.k_padded = padded_inputs(m.type, t.k);
  m.rows = layout.take<std::uint8_t>(weight_bytes(m.type, t.n, t.k));
  const std::int64_t scales = scale_bytes(m.type, t.group, t.n, t.k);
  if (scales > 0) m.scales = layout.take<std::uint16_t>(scales / 2);
  return m;
}

/// An earlier tensor with the very same bytes (tied matrices), or -1.
inline int tensor_with_same_bytes(const PipoCudaTensor* tensors, int index) {
  const PipoCudaTensor& t = tensors[index];
  for (int i = 0; i < index && t.data != nullptr; ++i) {
    const PipoCudaTensor& o = tensors[i];
    if (o.data == t.data && o.type == t.type && o.group == t.group && o.n == t.n && o.k == t.k) return i;
  }
  return -1;
}

inline std::int64_t count_weight_bytes(const PipoCudaTensor* tensors, int n_tensors) {
  Layout layout;
  for (int i = 0; i < n_tensors; ++i) {
    if (tensor_with_same_bytes(tensors, i) >= 0) continue;
    if (tensors[i].n == 0) layout.take<float>(tensors[i].k);
    else take_matrix(tensors[i], layout);
  }
  return layout.bytes();
}

}  // namespace pipo::cuda
