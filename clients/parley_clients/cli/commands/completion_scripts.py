"""The completion scripts of bash, zsh and fish, which call `parley __complete` and show its output."""

_BASH = r"""# Completion of parley for bash. In ~/.bashrc: eval "$(parley completion bash)"
_parley() {
    # bash splits words at : and =, which names of models and settings contain. Put them together again.
    local rest=${COMP_LINE:0:COMP_POINT} line word cut=
    local -a words=()
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ $rest == [[:blank:]]* || ${#words[@]} == 0 ]]; then
            rest=${rest#"${rest%%[![:blank:]]*}"}
            words+=("$word")
        else
            words[${#words[@]}-1]+=$word
        fi
        rest=${rest#"$word"}
    done
    local current=${words[${#words[@]}-1]}
    # What is in front of the last of these characters stays on the line.
    [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && cut=${current%"${current##*:}"}
    [[ $COMP_WORDBREAKS == *=* && ${current#"$cut"} == *=* ]] && cut=${current%"${current##*=}"}
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files | :directories)
                compopt -o filenames 2>/dev/null
                local kind=-f path begun=${current#"$cut"}
                [[ $line == :directories ]] && kind=-d
                while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen "$kind" -- "$begun")
                ;;
            *)
                line=${line%%$'\t'*}
                [[ $line == *= ]] && compopt -o nospace 2>/dev/null
                [[ $line == "$cut"* ]] && COMPREPLY+=("${line#"$cut"}")
                ;;
        esac
    done < <("${words[0]/#\~/$HOME}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _parley parley
"""

_ZSH = r"""#compdef parley
# Completion of parley for zsh. In ~/.zshrc, after compinit: eval "$(parley completion zsh)"
_parley() {
    local line word
    local -a found unfinished
    for line in ${(f)"$(${~words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"}; do
        case $line in
            :files) _files ;;
            :directories) _files -/ ;;
            *)
                word=${${line%%$'\t'*}//:/\\:}
                [[ $line == *$'\t'* ]] && word+=:${line#*$'\t'}
                if [[ ${line%%$'\t'*} == *= ]]; then unfinished+=("$word"); else found+=("$word"); fi
                ;;
        esac
    done
    (( $#unfinished )) && _describe -V 'parley' unfinished -S ''
    (( $#found )) && _describe -V 'parley' found
}
if [[ ${funcstack[1]} == _parley ]]; then _parley "$@"; else compdef _parley parley; fi
"""

_FISH = r"""# Completion of parley for fish. In ~/.config/fish/config.fish: parley completion fish | source
function __parley_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l program $before[1]
    set -e before[1]
    for line in ($program __complete $before "$current" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path "$current"
            case :directories
                __fish_complete_directories "$current"
            case '*'
                printf '%s\n' $line
        end
    end
end
complete -c parley -f -k -a '(__parley_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""The script of each shell."""
