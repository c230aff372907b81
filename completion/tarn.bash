# bash completion for tarn; the candidates come from the command's own table.
_tarn()
{
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    local IFS=$'\n'
    COMPREPLY=($(tarn __complete "${words[@]}" 2>/dev/null))
}
complete -o default -F _tarn tarn
