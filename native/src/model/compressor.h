#pragma once

#include "model/forward.h"
#include "model/weights.h"

namespace pipo {

/// Latents of pairs: `latents` [rows, H] from `slots` [2 rows], the even slot's embedding first.
///   linear:  W [even ; odd] + b           mlp:  W2 SiLU(W1 [even ; odd] + b1) + b2
Status compress(const Forward& f, const CompressorWeights& w, const PackedMatrix& embedding, const std::int32_t* slots,
                std::int32_t rows, float* latents);

}  // namespace pipo
