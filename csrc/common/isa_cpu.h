#pragma once
#include "common/isa.h"

// Name of the instruction set that the kernels of this namespace were compiled for.
AK_DECLARE(const char* isa_name())
