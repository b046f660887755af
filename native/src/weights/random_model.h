#pragma once

#include "pipo/random_model.h"
