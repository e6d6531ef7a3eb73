# The tests of the kernels as a program for a real device, without Criterion (tests/cuda/check.h).
# Included where the CUDA language is enabled; built by name. Its status is 77 without a device.
set(cuda_tests ${CMAKE_SOURCE_DIR}/tests/cuda)
file(GLOB device_kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/engine/cuda/*.cu)
add_library(gpu_kernels OBJECT EXCLUDE_FROM_ALL ${device_kernels})
target_include_directories(gpu_kernels PRIVATE ${CMAKE_SOURCE_DIR})
target_compile_options(gpu_kernels PRIVATE --fmad=false -Xcompiler=-ffp-contract=off)

add_executable(gpu_kernel_tests EXCLUDE_FROM_ALL
  ${cuda_tests}/check.c ${cuda_tests}/test_rows.c ${cuda_tests}/test_product.c
  ${cuda_tests}/test_attention_device.c ${cuda_tests}/test_picks.c ${cuda_tests}/test_span.c
  ${cuda_tests}/test_overlap.c
  $<TARGET_OBJECTS:gpu_kernels>)
set_target_properties(gpu_kernel_tests PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR} LINKER_LANGUAGE C)
target_compile_definitions(gpu_kernel_tests PRIVATE RM_TEST_ON_DEVICE=1)
target_include_directories(gpu_kernel_tests SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_link_libraries(gpu_kernel_tests PRIVATE rm_base rm_json rm_engine ${RM_ENGINE_LIBRARIES}
  CUDA::cudart_static stdc++)
