// What the levels of the filter are; shared by the two sides of a sweep. points.h says what they are for.
#pragma once

#include <cstdint>
#include <vector>

#include "knn/frame.h"

namespace dqcore {

struct Levels {
    bool bytes = false;           // level 1 is int8
    std::vector<int64_t> stages;  // coordinates at level 1, ascending; float32 has one stage
    int64_t near = 0;             // coordinates at level 2; 0: there is no level 2
    // One more dimension holds the norm of what the coordinates leave out: at level 1, and at level 2.
    bool rest = false, near_rest = false;
    double step = 1.0;  // of int8, in units of the frame
    // Subtracted from the norm of the rest, to centre it: of each stage, and of level 2.
    std::vector<double> stage_centre;
    double near_centre = 0.0;

    int64_t head() const { return stages.empty() ? 0 : stages.back(); }
    int64_t head_dims() const { return (head() + rest + 3) / 4 * 4; }  // float32
    int64_t near_dims() const { return near == 0 ? 0 : (near + near_rest + 15) / 16 * 16; }
    int64_t coordinates() const { return head() > near ? head() : near; }
};

// Fills in step and the centres from a sample of the rows.
void calibrate(const Frame& frame, const Keys& keys, const std::vector<int32_t>& ids,
               Levels& levels);

}  // namespace dqcore
