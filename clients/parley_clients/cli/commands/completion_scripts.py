"""The completion scripts of bash, zsh and fish, which call `parley __complete` and show its output."""

_BASH = r"""# Completion of parley for bash. In ~/.bashrc: eval "$(parley completion bash)"
_parley() {
    local line current="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files | :directories)
                compopt -o filenames 2>/dev/null
                local kind=-f path
                [[ $line == :directories ]] && kind=-d
                while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen "$kind" -- "$current")
                ;;
            *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <("${COMP_WORDS[0]/#\~/$HOME}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _parley parley
"""

_ZSH = r"""#compdef parley
# Completion of parley for zsh. In ~/.zshrc, after compinit: eval "$(parley completion zsh)"
_parley() {
    local line word
    local -a found
    for line in ${(f)"$(${~words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"}; do
        case $line in
            :files) _files ;;
            :directories) _files -/ ;;
            *)
                word=${${line%%$'\t'*}//:/\\:}
                [[ $line == *$'\t'* ]] && word+=:${line#*$'\t'}
                found+=("$word")
                ;;
        esac
    done
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
