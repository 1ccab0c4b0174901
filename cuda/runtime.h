// What of CUDA is there at run time, asked without a context: the driver, the devices, and the runtime that this module
// was built with.
#pragma once

#include <string>
#include <vector>

namespace dqcore::cuda {

struct RuntimeStatus {
    std::string runtime;  // its version, such as "13.0"
    std::string driver;   // the newest version that the driver supports; "" without a driver
    std::vector<std::string> devices;  // name and compute capability of each
    std::string reason;                // why no kernel can run; "" where they can
};

RuntimeStatus runtime_status();

}  // namespace dqcore::cuda
