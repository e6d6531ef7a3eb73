# build_id.cmake - writes OUT, a header with RM_BUILD_ID: a hash of the sources that plugin and
# program have in common and of how they are compiled. Two files of one build agree in it.
#   cmake -DOUT=FILE -DSOURCE=FOLDER -DSALT=TEXT -P build_id.cmake
file(GLOB_RECURSE files LIST_DIRECTORIES false
  ${SOURCE}/base/*.[ch] ${SOURCE}/engine/*.[ch] ${SOURCE}/engine/*.cu ${SOURCE}/engine/*.inc
  ${SOURCE}/engine/*.cuh)
list(SORT files)
set(all "${SALT}")
foreach(file ${files})
  file(SHA256 ${file} hash)
  file(RELATIVE_PATH name ${SOURCE} ${file})
  string(APPEND all "${name} ${hash}\n")
endforeach()
string(SHA256 id "${all}")
set(text "#define RM_BUILD_ID \"${id}\"\n")
set(before "")
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
