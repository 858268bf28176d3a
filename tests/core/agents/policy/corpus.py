"""Three hundred shell commands: half of them harmless under RULES, the other half tries to slip through."""

from parley_daemon.core.agents.rules import Rule

ALLOWED = (
    *("git status", "git log", "git diff", "git add", "git commit", "git grep", "git fetch", "ls", "echo"),
    *("npm test", "npm run", "make test", "cargo test", "go test", "pytest", "find", "rg", "sort", "tar -tf"),
    *("cat", "wc", "true", "printf", "head", "pwd"),
)
"""What the rules allow."""

RULES = tuple([Rule(f"allow {one}", "allow", "run", one) for one in ALLOWED])

_QUOTED = r"""
git status
git status --short
git status -sb
git log
git log --oneline
git log --oneline -n 5
git log -n5 --stat
git log HEAD~3
git log HEAD^ HEAD
git log main..HEAD
git log -- src/app.py
git log --format=%h
git log '--format=%h %s'
git log --since='2 weeks ago'
git log --author="Ann O'Hara"
git diff
git diff --stat
git diff HEAD~1 -- a.py
git diff --text
git diff --exit-code
git diff --word-diff
git add .
git add -A
git add src/app.py 'a file.txt'
git commit -m fix
git commit -m 'Fix the test'
git commit -m "Fix the \"quoted\" test"
git commit -m 'Say $HOME literally'
git commit -m 'Use `code` in a message'
git commit -m 'a; b && c | d'
git commit -m 'why? because!'
git commit -m "costs 5 \$"
git commit -am 'More'
git commit --amend -m 'Again'
git grep -n todo
git grep 'a.*b'
git fetch origin
git fetch --all
ls
ls -la
ls -la src
ls src/ docs/
ls 'My Documents'
ls "My Documents"
ls a'b'c
ls "a"'b'
ls -- -strange
ls ./src/../src
ls 2>/dev/null
ls >/dev/null
ls >/dev/null 2>&1
ls 2>&1
ls 2>&1 >/dev/null
ls > /dev/null
ls 1>/dev/null
ls >>/dev/null
ls </dev/null
>/dev/null ls
2>/dev/null ls -l
echo
echo hi
echo 'hi there'
echo "hi there"
echo ''
echo ""
echo "" ''
echo a b   c
echo '*'
echo '$HOME'
echo '~'
echo '#no comment'
echo a#b
echo "a#b"
echo a~b
echo a^b
echo 100%
echo a,b
echo a@b
echo a=b
echo --x=y
echo -n hi
echo 'Grüße'
echo "naïve café"
echo '日本語'
echo 'a	tab'
echo "tab	inside"
echo '{a,b}'
echo "{a..z}"
echo '[ab]*'
echo '(sub)'
echo '<html>'
echo "<a>" '|' '&'
echo 'it'"'"'s'
echo foo2
echo 2
echo 2 3 4
npm test
npm test -- --watch
npm run build
npm run test:unit
npm run lint -- --fix
make test
make test -j4
make test -j 4
cargo test
cargo test --release
cargo test -p core -- --nocapture
go test ./...
go test -run TestX ./pkg
go test -v -count=1 ./...
pytest
pytest -q
pytest -x -q tests/test_a.py
pytest tests/test_a.py::test_b
pytest -k 'a and not b'
find .
find . -name a.py
find . -name '*.py'
find src -type f -name '*.md'
find . -newer a -print
rg todo
rg -n 'a.*b' src
rg --files
rg -i todo --glob '*.py'
sort a.txt
sort -u a.txt
sort -k2 -n a.txt
tar -tf a.tar
tar -tf a.tar src/
cat a.txt
cat a.txt b.txt
wc -l a.txt
printf '%s\n' a
printf "%s" "a b"
head -n 5 a.txt
pwd
true
git status && git diff
git status; git diff
git status;
git status || echo no
git log | head -n 3
git log | sort | wc -l
cat a | rg b | wc -l
ls && echo ok || echo no
ls; ls; ls
make test 2>&1 | head -n 20
npm test && git add . && git commit -m ok
timeout 60 make test
timeout -s KILL 60 make test
timeout -k 5 60s make test
nice make test
nice -n 10 make test
nice -5 make test
nohup make test
env ls
env -i ls
env -u FOO ls
timeout 5 nice -n 3 nohup pytest -q
cat list | xargs ls
cat list | xargs -0 wc -l
cat list | xargs -n 1 echo
cat list | xargs -P 4 -n 2 cat
"""

HARMLESS = (
    *[line for line in _QUOTED.strip().split("\n") if line],
    "git status\ngit diff",
    "git status\n\n\ngit diff\n",
    "git status &&\n  git diff",
    "git log |\n\n  head -n 3",
    "git commit -m 'A subject\n\nA body.'",
    'git commit -m "A subject\n\nA body."',
    "  ls  -l  ",
    "\tls\t-l",
)

_HOSTILE = r"""
git status && rm -rf /
git status; rm -rf /
git status || rm -rf /
git status | rm -rf /
git status |& rm -rf /
git status & rm -rf /
git status&rm -rf /
git status&&rm -rf /
git status&
ls $(rm -rf /)
ls `rm -rf /`
ls "$(rm -rf /)"
ls "`rm -rf /`"
ls ${IFS}rm
ls $IFS
ls "$HOME"
ls $((1+1))
ls <(rm -rf /)
ls >(rm -rf /)
ls > out
ls >out
ls >>out
ls >| out
ls 2>out
ls &>out
ls &>/dev/null
ls >&out
ls >/dev/nullx
ls >/dev/null/../../tmp/x
ls > /dev/null/../x
ls 3>out
ls <in
ls <<EOF
ls <<<word
ls <>file
cat </etc/shadow
echo $'\x72\x6d'
echo $"hi"
$'rm' -rf /
\rm -rf /
r\m -rf /
'rm' -rf /
"rm" -rf /
r'm' -rf /
r""m -rf /
/bin/rm -rf /
./ls
../ls
/tmp/ls
sub/git status
FOO=1 ls
PATH=/tmp ls
LD_PRELOAD=/tmp/x.so ls
GIT_SSH_COMMAND=x git fetch
A=1
a+=1 ls
a[0]=1 ls
env FOO=1 ls
env PATH=/tmp ls
env -S 'rm -rf /'
env -C / ls
env --chdir=/ ls
env -i FOO=1 ls
timeout 5 rm -rf /
timeout --unknown 5 ls
timeout rm ls
timeout 5 env FOO=1 ls
timeout 5
nohup rm -rf /
nice rm -rf /
nice -n 5 rm -rf /
nice --unknown ls
xargs rm
echo / | xargs rm -rf
echo --output=x | xargs git log
echo x | xargs -I{} rm {}
echo x | xargs -I X ls X
echo x | xargs sh -c 'rm x'
echo x | xargs find
echo x | xargs git
command rm -rf /
command ls
exec ls
exec rm -rf /
eval rm -rf /
eval 'ls'
source x
. x
builtin cd /
sudo ls
sudo git status
doas ls
su -c ls
bash -c ls
bash -c 'git status'
sh -c ls
sh
bash
bash x.sh
zsh -c ls
dash -c ls
busybox ls
busybox rm -rf /
python -c 'import os'
python x.py
python3.11 -m http.server
node -e 1
perl -e 'system "rm"'
ruby -e 1
awk 'BEGIN { system("rm") }'
sed -n 1p x
sed e x
ed x
vim x
less x
ssh host ls
git
git push
git -c core.pager=rm log
git -c alias.x='!rm' x
git -C / status
git --exec-path=/tmp status
git --no-pager push
git log --output=x
git log --output x
git log --outp=x
git diff --output=/etc/passwd
git diff --ext-diff
git diff --textconv
git diff --no-index a b
git diff /dev/null /etc/passwd
git diff -- ../../notes.txt a
git grep -Orm x
git grep -O rm x
git grep --open-files-in-pager=rm x
git grep --open-files=rm x
git fetch --upload-pack=rm
git fetch --upload-pack rm x
git commit --template=x
git stash
find . -exec rm {} ;
find . -exec rm '{}' ';'
find . -execdir rm '{}' +
find . -delete
find . -ok rm '{}' ';'
find . -fprintf x y
find . -fls x
rg --pre rm x
rg --pre=rm x
sort -o x y
sort -ox y
sort --output=x y
sort --outp=x y
sort --compress-program=rm x
tar -tf x --to-command=rm
tar -tf x -I rm
tar -tf x --checkpoint-action=exec=rm
tar -tf x --use-compress=rm
make test SHELL=/tmp/x
make test -f /tmp/Makefile
make test --eval=x
make test deploy
make test -j 4 VERBOSE
make test -C /tmp
make
cargo test --config x
go test -exec rm ./...
go test -toolexec=rm ./...
go test -ldflags=-extld=./evil ./...
pytest -p x
pytest --rootdir=/tmp
pytest -c /tmp/x.ini
pytest -o x=y
npm test --prefix /tmp
npm run build --script-shell=/tmp/x
npm publish
npx x
ls *.py
ls ?
ls [ab]
ls {a,b}
ls {1..3}
ls ~
ls ~root
ls a=~
ls x:~
echo !!
echo !ls
echo "!!"
! ls
!ls
^a^b
# ls
ls # comment
if true; then ls; fi
for x in a b; do ls; done
while true; do ls; done
case x in x) ls;; esac
{ ls; }
(ls)
(ls) && ls
f() { ls; }; f
function f { ls; }
time ls
coproc ls
[[ -f x ]]
[ -f x ]
((1))
alias ls=rm; ls
alias ls='rm -rf /'
unalias ls
export PATH=/tmp; ls
export PATH=/tmp && git status
set -x; ls
shopt -s expand_aliases; ls
hash -p /tmp/x ls; ls
enable -f x y
trap 'rm -rf /' EXIT; ls
declare -x PATH=/tmp; ls
typeset PATH=/tmp; ls
readonly PATH=/tmp; ls
unset PATH; ls
read PATH; ls
mapfile x; ls
printf -v PATH /tmp; ls
printf -v 'a[$(rm -rf /)]' x
printf -vPATH /tmp
test -v 'a[$(rm)]'
let 'a[$(rm)]'
jobs -x rm
complete -C rm ls
compgen -C rm
fc -s
pushd /
ls &&
ls ||
ls |
&& ls
| ls
; ls
ls ;; ls
ls ; ; ls
ls 'unclosed
ls "unclosed
ls \
%1
=ls
"" ls
'' rm
"ls -l"
" ls"
-ls
"""

HOSTILE = (
    *[line for line in _HOSTILE.strip("\n").split("\n") if line],
    "",
    " ",
    "\n",
    "git status\nrm -rf /",
    "git status\r\nrm -rf /",
    "git status\rrm -rf /",
    "git status\x00rm -rf /",
    "git status \\\n; rm -rf /",
    "ls 'a\x1b[2Jb'",
    "ls\u00a0-l",
    "ls\u2003-l",
    "ls\u200b",
    "ls '\u202etxt.exe'",
    "\uff4c\uff53",
    "l\u0455",
    "ls \u2013l",
    "ls 'a\u2028b'",
    "ls '\ud800'",
    "git status; rm " + "x" * 20_000,
    "ls;" * 200,
    "cat <<'EOF'\nrm\nEOF",
    "ls\n}\n",
    "ls |\n",
)
