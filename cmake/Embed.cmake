# SPDX-License-Identifier: Apache-2.0
# cmake -DOUT=web.c -DFILES="a.html;b.js" -DDIR=… -P Embed.cmake
# Writes OUT: each file as a constant of web/web.h, web_<name with _ for .>.
set(text "/* Made by cmake/Embed.cmake. */\n#include \"web/web.h\"\n")
foreach(file ${FILES})
  file(READ ${DIR}/${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(MAKE_C_IDENTIFIER "${file}" id)
  string(APPEND text "static const unsigned char bytes_${id}[] = {${bytes}};\n"
    "const struct str web_${id} = {(const char *)bytes_${id}, sizeof bytes_${id}};\n")
endforeach()
file(WRITE ${OUT} "${text}")
