#!/usr/bin/env bash
# Another person's performance moves the avatar.
# usage: drive_with_another.sh me.safetensors driver.mp4 [out.mp4]
set -euo pipefail
avatarkit render "$1" --driver "$2" --transfer relative --side-by-side -o "${3:-driven.mp4}"
