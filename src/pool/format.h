#ifndef TARN_POOL_FORMAT_H
#define TARN_POOL_FORMAT_H
#endif
