#include "pool/format.h"
