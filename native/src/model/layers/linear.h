#pragma once

#include <initializer_list>

#include "model/forward.h"
#include "model/weights.h"

namespace pipo {

/// One of several products of the same input: y [rows, n] = W x (+ bias).
struct Projection {
  const PackedMatrix& w;
  float* y;
  const float* bias = nullptr;
};

/// All projections of x [rows, k] in one pass over it.
inline Status linear(const Forward& f, const float* x, std::int32_t rows,
                     std::initializer_list<Projection> projections) {
  constexpr std::size_t kMost = 4;
  kernels::MatmulTerm terms[kMost];
  std::int32_t n = 0;
  for (const Projection& p : projections) terms[n++] = {&p.w, p.bias, p.y, p.w.n, false};
  const std::int64_t stride = projections.begin()->w.k;
  return f.ops.matmul(x, stride, rows, terms, n);
}

/// y [rows, n] += W x.
inline Status linear_add(const Forward& f, const float* x, std::int32_t rows, const PackedMatrix& w, float* y) {
  const kernels::MatmulTerm term{&w, nullptr, y, w.n, true};
  return f.ops.matmul(x, w.k, rows, &term, 1);
}

}  // namespace pipo
