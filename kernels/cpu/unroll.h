#pragma once

/// For what works on a caller's small arrays of vectors: as a function of its own it would find them in memory.
#if defined(__GNUC__)
#define PIPO_INLINE inline __attribute__((always_inline))
#else
#define PIPO_INLINE inline
#endif

/// Unrolls the loop that follows, so that small arrays of vectors stay in registers.
#if defined(__clang__)
#define PIPO_UNROLL(count) _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define PIPO_PRAGMA(text) _Pragma(#text)
#define PIPO_UNROLL(count) PIPO_PRAGMA(GCC unroll count)
#else
#define PIPO_UNROLL(count)
#endif
