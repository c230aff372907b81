#!/usr/bin/env bash
# vssapi.sh - the stand-in for the VSS service as DLL: what it answers to installers of providers and to requesters.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

wine_begin
wine_install "$WINDOWS_BUILD/windows/standin/vssapi_probe.exe"
install_vssapi
relay vssapi_probe.exe client
product_type ServerNT
relay vssapi_probe.exe
finish
