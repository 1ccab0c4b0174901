#include "bind/array.h"
#include "bind/run.h"

namespace dqcore::bind {

void knn(py::module_&) {}

}  // namespace dqcore::bind
