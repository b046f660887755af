#pragma once

#include <cstddef>
#include <cstdint>

/// The C interface of the shared library pipo_cuda: plain structs and one table of functions, so that the engine needs
/// no CUDA header and the library no engine header. The engine finds the table with `pipo_cuda_api`.
///
/// Every function that returns a status takes `PipoCudaError*` for words, which say what to do too; 0 is success.
/// Objects are used by one thread at a time; `cancel` words may be written by any.
extern "C" {

/// Raised with every change of this file: library and engine are shipped together and must agree.
#define PIPO_CUDA_API_VERSION 4u

/// A request may stop at so many ids.
#define PIPO_CUDA_MOST_STOP_IDS 1024u

typedef enum PipoCudaStatus {
  kPipoCudaOk = 0,
  kPipoCudaUnusable = 1,     ///< no device, or one too old
  kPipoCudaOutOfMemory = 2,  ///< device or pinned memory
  kPipoCudaUnsupported = 3,  ///< a shape or type without kernels
  kPipoCudaDeviceError = 4,
  kPipoCudaCancelled = 5,
} PipoCudaStatus;

typedef struct PipoCudaError {
  char words[512];
} PipoCudaError;

typedef struct PipoCudaDevice {
  char name[128];
  int32_t capability_major, capability_minor;
  int32_t multiprocessors;
  int32_t driver_version, runtime_version;  ///< 1000 * major + 10 * minor
  int64_t total_bytes, free_bytes;
} PipoCudaDevice;

/// Which weight a tensor is. Names follow the checkpoint's.
typedef enum PipoCudaSlot {
  kPipoEmbedding, kPipoLmHead, kPipoFinalNorm,
  kPipoInputNorm, kPipoPostAttentionNorm,
  kPipoQProj, kPipoKProj, kPipoVProj, kPipoOProj, kPipoQNorm, kPipoKNorm,
  kPipoInProjQkv, kPipoInProjZ, kPipoInProjA, kPipoInProjB, kPipoOutProj,
  kPipoConv, kPipoNegExpALog, kPipoDtBias, kPipoDeltaNorm,
  kPipoGateProj, kPipoUpProj, kPipoDownProj,
  kPipoCompressorInner, kPipoCompressorOuter, kPipoCompressorInnerBias, kPipoCompressorOuterBias,
  kPipoDraftEmbeddingNorm, kPipoDraftHiddenNorm, kPipoDraftFc, kPipoDraftNorm,
  kPipoConfidenceNorm, kPipoConfidenceFc1, kPipoConfidenceFc2,
  kPipoPreGate, kPipoPreGateBias,
  kPipoSlotCount
} PipoCudaSlot;

/// A matrix in the engine's packed panel layout, or (n = 0) a vector of k floats. `layer`: the backbone's, n_layers for
/// the draft head's block, -1 for the rest. Types are those of WeightType.
typedef struct PipoCudaTensor {
  int32_t slot;
  int32_t layer;
  int32_t type, group, n, k;
  const void* data;
} PipoCudaTensor;

typedef struct PipoCudaConfig {
  int32_t vocab_size, real_vocab_size, hidden_size, intermediate_size;
  int32_t n_layers;
  const uint8_t* layer_types;  ///< [n_layers], 0 full attention, 1 gated delta
  int32_t n_heads, n_kv_heads, head_dim, rotary_dim;
  const float* inv_freq;  ///< [rotary_dim / 2]
  float eps;
  int32_t n_key_heads, n_value_heads, key_dim, value_dim, conv_kernel;
  int32_t compressor;  ///< -1 plain model, 0 linear, 1 mlp
  int32_t pad_token_id;
  int32_t has_pre_gate;
  int32_t kv_type;  ///< 0 f32, 1 bf16
} PipoCudaConfig;

/// Bytes that a model and one session need, before anything is allocated.
typedef struct PipoCudaMemory {
  int64_t weights, workspace, kv, states, snapshots, step;
} PipoCudaMemory;

typedef struct PipoCudaModel PipoCudaModel;
typedef struct PipoCudaSession PipoCudaSession;
typedef struct PipoCudaSnapshot PipoCudaSnapshot;

typedef struct PipoCudaPoint {
  int32_t rows;  ///< a snapshot after so many rows of the chunk
  PipoCudaSnapshot* snapshot;
} PipoCudaPoint;

/// What `extend` does with the draft head's rows.
typedef enum PipoCudaDraftRows { kPipoDraftNone = 0, kPipoDraftCache = 1, kPipoDraftHidden = 2 } PipoCudaDraftRows;

typedef struct PipoCudaExtend {
  int32_t pair_mode;
  const int32_t* slots;  ///< [rows * 2] in pair mode, [rows] else
  int32_t rows;
  int32_t first_position;
  const PipoCudaPoint* points;
  int32_t n_points;
  int32_t draft_rows;
  int32_t skip_row_before;  ///< the position before the chunk has its draft row already, or there is none
  /// Asked between layers; a true answer ends the chunk. May be null.
  int32_t (*stop)(void*);
  void* stop_context;
} PipoCudaExtend;

/// A request whose steps run wholly on the device.
typedef struct PipoCudaRequest {
  int32_t pair_mode;
  int32_t position;  ///< positions executed
  int32_t max_new_tokens, min_new_tokens, max_positions;
  float threshold, pre_gate_threshold;
  int32_t first_visible_mode;  ///< 0 all, 1 from `first_visible` on, 2 the own row only
  int32_t first_visible;
  float temperature, top_p, min_p, presence_penalty, repetition_penalty;
  int32_t top_k;
  uint64_t seed;
  int32_t logprobs;
  int32_t banned_id;  ///< -1: none
  const uint8_t* allowed_ids;  ///< one bit per id, null: all
  const int32_t* prompt_ids;   ///< for the repetition penalty
  int32_t n_prompt_ids;
  const int32_t* stop_ids;
  int32_t n_stop_ids;
  int32_t use_graph;
} PipoCudaRequest;

/// One finished step, as the device wrote it.
typedef struct PipoCudaStep {
  int32_t first, second;  ///< second -1: PAD
  float confidence, first_logprob, second_logprob;
  int32_t drafted;    ///< 0 no draft, 1 the draft ran, 2 the pre-gate skipped it
  int32_t executed;   ///< the pair has gone through the backbone
  int32_t row_written;  ///< the draft head's row of the position before the pair is valid for `first`
  /// By the device's clock: when the step began, and when the request's step before had ended (0: it is the first). The
  /// end of a step is known with the next one, because a step is handed out before its pair goes through the backbone.
  uint64_t begin_ns, previous_end_ns;
} PipoCudaStep;

typedef struct PipoCudaApi {
  uint32_t version;
  PipoCudaStatus (*device)(PipoCudaDevice* out, PipoCudaError* error);
  PipoCudaStatus (*plan)(const PipoCudaConfig*, const PipoCudaTensor*, int32_t n_tensors, int32_t max_positions,
                         int32_t n_snapshots, PipoCudaMemory* out, PipoCudaError*);

  PipoCudaStatus (*model_create)(const PipoCudaConfig*, const PipoCudaTensor*, int32_t n_tensors,
                                 int32_t (*keep_going)(void*, double fraction), void* context, PipoCudaModel** out,
                                 PipoCudaError*);
  void (*model_destroy)(PipoCudaModel*);
  int32_t (*max_rows)(const PipoCudaModel*);

  /// Without room for positions; `reserve` makes it.
  PipoCudaStatus (*session_create)(PipoCudaModel*, PipoCudaSession** out, PipoCudaError*);
  void (*session_destroy)(PipoCudaSession*);
  /// Room for `positions`, keeping the first `used` rows. Not between request_begin and the request's last step.
  PipoCudaStatus (*reserve)(PipoCudaSession*, int32_t positions, int32_t used, PipoCudaError*);
  PipoCudaStatus (*session_clear)(PipoCudaSession*, PipoCudaError*);
  PipoCudaStatus (*snapshot_create)(PipoCudaSession*, PipoCudaSnapshot** out, PipoCudaError*);
  void (*snapshot_destroy)(PipoCudaSnapshot*);
  PipoCudaStatus (*restore)(PipoCudaSession*, const PipoCudaSnapshot*, PipoCudaError*);

  /// Appends `rows` positions. Leaves their hidden vectors in hidden_row(0...), the last one also in hidden(), and fills
  /// the snapshots in `points`. kPipoCudaCancelled when `stop` said so; the states are then undefined. Returns when the
  /// work is queued: a failure of the device may show with a later call, and so does the time that it takes.
  PipoCudaStatus (*extend)(PipoCudaSession*, const PipoCudaExtend*, PipoCudaError*);
  /// Draft hidden of `position`, the last one, followed by `next_slot`; writes its draft row, leaves draft_row(0).
  PipoCudaStatus (*draft)(PipoCudaSession*, int32_t position, int32_t next_slot, int32_t first_visible, PipoCudaError*);
  /// Vectors [hidden_size] are device addresses: of the session's last hidden, of rows of the last extend (draft rows
  /// only with kPipoDraftHidden, where row 0 is the position before the chunk if there is one), of the last draft.
  const float* (*hidden)(PipoCudaSession*);
  const float* (*hidden_row)(PipoCudaSession*, int32_t row);
  const float* (*draft_row)(PipoCudaSession*, int32_t row);
  PipoCudaStatus (*confidence)(PipoCudaSession*, const float* hidden, const float* draft, float* out, PipoCudaError*);
  PipoCudaStatus (*pre_gate)(PipoCudaSession*, const float* hidden, float* out, PipoCudaError*);
  /// Values of the heads are sigmoids; logits are [vocab_size] in host memory.
  PipoCudaStatus (*logits)(PipoCudaSession*, const float* hidden, float* out, PipoCudaError*);
  PipoCudaStatus (*read)(PipoCudaSession*, const float* vector, int32_t count, float* out, PipoCudaError*);

  PipoCudaStatus (*request_begin)(PipoCudaSession*, const PipoCudaRequest*, PipoCudaError*);
  /// Queues one more step: first token, draft, gate, second token, and the pair's way through the backbone. At most two
  /// may be under way. Steps after the one that ended the request do nothing.
  PipoCudaStatus (*step_launch)(PipoCudaSession*, PipoCudaError*);
  /// Waits for the first token of the oldest step not yet taken; false in `any` when the request had ended before it.
  PipoCudaStatus (*step_first)(PipoCudaSession*, int32_t* any, int32_t* first, PipoCudaError*);
  PipoCudaStatus (*step_take)(PipoCudaSession*, int32_t* any, PipoCudaStep* out, PipoCudaError*);
  /// Steps that have not begun do nothing; from any thread.
  void (*request_cancel)(PipoCudaSession*);

  /// Bytes per second, read and written, of a plain copy of `bytes` within the device's memory; the best of a few.
  PipoCudaStatus (*measure_copy)(int64_t bytes, double* out, PipoCudaError*);
  /// Multiplications and additions per second of bf16 products (mma.sync) out of registers; the best of a few.
  PipoCudaStatus (*measure_matrix)(double* out, PipoCudaError*);
} PipoCudaApi;

#define PIPO_CUDA_ENTRY "pipo_cuda_api"
typedef const PipoCudaApi* (*PipoCudaEntry)(uint32_t version);

}  // extern "C"
