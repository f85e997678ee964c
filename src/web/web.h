/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The files of this folder, built into the binary.  Constant: any thread. */
#include "base/str.h"

extern const struct str web_page_html, web_page_js, web_page_css;
