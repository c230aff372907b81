# bash completion for tarn; the candidates come from the command's own table.
_tarn()
{
    mapfile -t COMPREPLY < <(tarn __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null)
}
complete -o default -F _tarn tarn
