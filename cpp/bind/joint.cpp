#include "bind/array.h"
#include "bind/run.h"

namespace dqcore::bind {

void joint(py::module_&) {}

}  // namespace dqcore::bind
