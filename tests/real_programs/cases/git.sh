#!/usr/bin/env bash
# about: git: many files and commits, merge, clone, gc, fsck, bundle, the hash of every commit compared
# needs: git=git
# proves: git
# timeout: 180
. "$RP_DIR/case.sh"

export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org
git config --global init.defaultBranch main
git config --global gc.auto 0
git config --global maintenance.auto false
git config --global pack.threads 2
git config --global protocol.file.allow always

commit() {
    GIT_AUTHOR_DATE="$((1700000000 + $1)) +0000" GIT_COMMITTER_DATE="$((1700000000 + $1)) +0000" git commit -qm "$2"
}

git init -q origin
cd origin
mkdir d0 d1 d2 d3 d4
commits=$(pick 16 100)
for ((n = 1; n <= commits; n++)); do
    awk -v n="$n" 'BEGIN { srand(n); for (f = 0; f < 30; f++) {
        name = "d" (f % 5) "/file" int(rand() * 400) ".txt"
        for (l = 0; l < 60; l++) print n, l, int(rand() * 1e6), "some text that stays the same" > name
        close(name) } }'
    git add -A
    commit "$n" "commit $n"
    if [ "$n" = 10 ]; then git branch side; fi
done
git checkout -q side
seq 5000 >side.txt
git add -A
commit 5000 "on the side"
GIT_AUTHOR_DATE="1700009000 +0000" GIT_COMMITTER_DATE="1700009000 +0000" git merge -q -m "merge" main
git tag v1
git log --all --format='%H %T %P %s' | sha256sum
git log -p --stat -M --all | sha256sum
git rev-parse HEAD
git ls-files -s | sha256sum
git blame side.txt | sha256sum
git grep -c "some text" HEAD | sha256sum
git diff --word-diff main~5 HEAD | sha256sum
git fsck --full --strict 2>&1

echo "== gc"
git gc -q --aggressive --prune=now
git count-objects -v | grep -E '^(count|in-pack|packs|garbage)'
git fsck --full
git verify-pack .git/objects/pack/*.idx

echo "== clone"
cd ..
git clone -q --no-local origin copy 2>&1
git -C copy fsck --full
git -C copy rev-parse HEAD "HEAD^{tree}"
git -C copy status --porcelain
git clone -q --depth 3 "file://$PWD/origin" shallow 2>&1
git -C shallow log --format=%H | wc -l
git -C origin bundle create -q ../all.bundle --all
git clone -q --mirror all.bundle mirror 2>&1
git -C mirror for-each-ref
git -C copy archive --format=tar HEAD | sha256sum
git -C copy rebase -q HEAD~1 2>&1
git -C copy stash list
