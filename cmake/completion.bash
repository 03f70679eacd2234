# Completion of gendistill for bash: commands, options, keys behind --set, files. The program knows the words.
# shellcheck shell=bash

_gendistill() {
  local words
  words=$("$1" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || words=
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
  [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
}
complete -o default -F _gendistill gendistill
