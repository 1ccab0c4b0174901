// The backend on the CPU's executor: the sources that nvcc compiles for a GPU, by the C++ compiler.
#include "cuda/joint.cu"   // NOLINT(bugprone-suspicious-include)
#include "cuda/knn.cu"     // NOLINT(bugprone-suspicious-include)
#include "cuda/slices.cu"  // NOLINT(bugprone-suspicious-include)
