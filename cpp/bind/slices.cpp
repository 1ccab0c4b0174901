#include "bind/array.h"
#include "bind/run.h"

namespace dqcore::bind {

void slices(py::module_&) {}

}  // namespace dqcore::bind
