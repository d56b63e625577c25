#!/usr/bin/env bash
# Shows that the models can fail: weakens one ordering or drops one step of the shipped source at a time,
# in a copy of it, and requires the matching models to fail.
#
#   loom-tests/mutants.sh             all mutants, about 5 s each; needs cargo and perl
#   loom-tests/mutants.sh inbox       those of which model or title contain "inbox"
#
# A mutant that survives is "MISSED": the model is too weak, or the source stronger than it needs to be. One
# that no longer changes the source or no longer compiles ends the run: bring it up to date. The last line
# counts; the exit status is 0 when every mutant was caught.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=${1-}
# Inside target/, so that nothing is left over and loom itself is compiled once.
copy=target/loom-mutants/tree
export CARGO_TARGET_DIR=$PWD/target/loom-mutants/target
caught=0 missed=0

fresh_copy() {
    mkdir -p "$copy"
    rm -rf "$copy/src" "$copy/loom-tests"
    cp -rp src loom-tests "$copy/"
    # Quick to build; what the models need to be fast is loom, and that is built once.
    cat >"$copy/Cargo.toml" <<'MANIFEST'
[workspace]
members = ["loom-tests"]
resolver = "2"
[profile.dev]
opt-level = 1
debug = false
overflow-checks = false
debug-assertions = false
[profile.dev.package."*"]
opt-level = 3
MANIFEST
    cp Cargo.lock "$copy/"
}

cargo_test() {
    (cd "$copy" && cargo test --quiet --offline -p pymalloc-loom-tests --test models "$@")
}

# mutant MODEL FILE TITLE PERL: applies the substitution PERL to FILE as one string.
mutant() {
    local model=$1 file=$2 title=$3 change=$4 line="$1: $3"
    [[ "$line" == *"$wanted"* ]] || return 0
    perl -0777 -pi -e "$change" "$copy/$file"
    if cmp -s "$file" "$copy/$file"; then
        echo "stale: $line: nothing to change in $file" >&2
        exit 2
    fi
    if ! cargo_test --no-run 2>"$copy/build.log"; then
        cat "$copy/build.log" >&2
        echo "broken: $line: does not compile" >&2
        exit 2
    fi
    local status=0
    # A model that never ends is not a model that fails.
    (cd "$copy" && timeout 120 cargo test --quiet --offline -p pymalloc-loom-tests --test models "$model") \
        >"$copy/run.log" 2>&1 || status=$?
    if [[ $status == 101 ]] || grep -q 'SIGABRT\|SIGSEGV' "$copy/run.log"; then
        caught=$((caught + 1))
        echo "caught: $line ($(why))"
    else
        missed=$((missed + 1))
        echo "MISSED: $line (exit status $status)"
    fi
    cp "$file" "$copy/$file"
}

# The first complaint of the failed model, for the reader.
why() {
    grep -A1 -m1 'panicked at' "$copy/run.log" | tail -1 | cut -c1-70 || true
}

fresh_copy
cargo_test --no-run 2>/dev/null || { echo "the unchanged source does not build" >&2; exit 2; }

lock=src/sync/lock.rs
mutant lock_excludes $lock 'no fence in unlock' 's/(fn unlock.*?)fence\(Ordering::SeqCst\);/$1/s'
mutant lock_excludes $lock 'no fence before sleeping' 's/(fn lock_slow.*?)fence\(Ordering::SeqCst\);/$1/s'
mutant lock_excludes $lock 'freed Relaxed' 's/store\(0, Ordering::Release\)/store(0, Ordering::Relaxed)/'
mutant lock_excludes $lock 'taken Relaxed' 's/(thread_id\(\), )Ordering::Acquire/$1Ordering::Relaxed/'
mutant lock_excludes $lock 'sleeper not announced' 's/sleepers\.fetch_add\(1/sleepers.fetch_add(0/; s/sleepers\.fetch_sub\(1/sleepers.fetch_sub(0/'
mutant lock_excludes $lock 'no last try before sleeping' 's/if let Some\(locked\) = self\.try_lock\(\) \{\s*break locked;\s*\}\s*(P::wait[^;]*;)/$1 if let Some(locked) = self.try_lock() { break locked; }/'
mutant lock_excludes $lock 'turn read after the last try' 's/let turn = (self\.turn\.load[^;]*);(.*?)P::wait\(&self\.turn, turn\)/$2 let turn = $1; P::wait(&self.turn, turn)/s'
mutant lock_excludes $lock 'turn not changed by unlock' 's/turn\.fetch_add\(1/turn.fetch_add(0/'
mutant lock_excludes $lock 'nobody woken' 's/P::wake_one\(&self\.turn\);//'
mutant lock_excludes $lock 'sleepers read before it is freed' 's/(\s*self\.owner\.store\(0, Ordering::Release\);)(.*?load\(Ordering::Relaxed\)) != 0 \{/\n        let sleepers = self.sleepers.load(Ordering::Relaxed);$1\n        fence(Ordering::SeqCst);\n        if sleepers != 0 {/s'

inbox=src/obmalloc/inbox.rs
mutant no_chain $inbox 'push Relaxed' 's/new, Ordering::Release/new, Ordering::Relaxed/'
mutant no_chain $inbox 'inbox taken Relaxed' 's/null_mut\(\), Ordering::Acquire/null_mut(), Ordering::Relaxed/'
mutant no_chain $inbox 'no fence in deliver' 's/fence\(Ordering::SeqCst\);//'
mutant no_chain $lock 'no fence in unlock' 's/(fn unlock.*?)fence\(Ordering::SeqCst\);/$1/s'
mutant no_chain $inbox 'no look at the inbox after unlock' 's/drop\(locked\);\s*self\.settle\(\);/drop(locked);/'
mutant no_chain $inbox 'one look only, and nothing after the second unlock' 's/while !self\.inbox/if !self.inbox/'
mutant no_chain $inbox 'not drained on enter' 's/self\.drain\(value\);\s*f\(value\)/f(value)/'
mutant no_chain $inbox 'inbox read, not taken' 's/self\.inbox\.swap\(core::ptr::null_mut\(\), /self.inbox.load(/'
mutant no_chain $inbox 'lock not tried after the push' 's/self\.try_enter\(\|_\| \(\)\);//'
mutant no_chain $inbox 'link not renewed when the push is repeated' 's/(let mut head = [^;]*;)/$1 let old = head;/; s/chain\.link\(head\)/chain.link(old)/'
mutant no_chain $inbox 'settle without the lock' 's/let Some\(locked\) = self\.lock\.try_lock\(\) else \{.*?\};/let locked = ();/s'

roster=src/obmalloc/roster.rs
mutant no_heap $roster 'heap published Relaxed' 's/cast_mut\(\), Ordering::Release/cast_mut(), Ordering::Relaxed/'
mutant no_heap $roster 'heap read Relaxed' 's/load\(Ordering::Acquire\)/load(Ordering::Relaxed)/'
mutant no_heap $roster 'no lock' 's/let _locked = self\.lock\.lock\(\);//'
mutant no_heap $roster 'a joining thread is not counted' 's/state\.users\[index\] \+= 1;//'
mutant no_heap $roster 'a leaving thread is not counted' 's/state\.users\[index\] -= 1;//'
mutant no_heap $roster 'shares before it makes' 's/Some\(index\) if users\[index\] == 0 => index/Some(index) => index/'

map=src/obmalloc/address_map.rs
mutant map_is $map 'leaf published Relaxed' 's/as_ptr\(\), Ordering::Release/as_ptr(), Ordering::Relaxed/'
mutant map_is $map 'leaf read Relaxed for a label' 's/(rotated >> [^;]*?load\()Ordering::Acquire/$1Ordering::Relaxed/s'
mutant map_is $map 'leaf read Relaxed for an owner' 's/(fn leaf\(.*?load\()Ordering::Acquire/$1Ordering::Relaxed/s'
mutant map_is $map 'owner named Relaxed' 's/encode\(owner\), Ordering::Release/encode(owner), Ordering::Relaxed/'
mutant map_is $map 'owner read Relaxed' 's/(match self\.owner\.load\()Ordering::Acquire/$1Ordering::Relaxed/'

extents=src/obmalloc/extents.rs
# A function of the extents without their lock.
unlocked() {
    echo 's/(fn '"$1"'\(&self[^{]*\{.*?)self\.with\(/$1unlocked(&self.state, /s; $_ .= "fn unlocked<R>(state: &SharedCell<State>, f: impl FnOnce(&mut State) -> R) -> R { unsafe { state.with_mut(f) } }"'
}
mutant no_slot $extents 'slot obtained without the lock' "$(unlocked obtain)"
mutant no_slot $extents 'oldest taken without the lock' "$(unlocked take_oldest)"
mutant no_slot $extents 'released without the lock' "$(unlocked release)"
mutant no_slot $extents 'put on the stack without the lock' "$(unlocked put_clean)"
mutant no_slot src/obmalloc/extents_pairs.rs 'a pair for ahead taken without the lock' 's/self\.with\(\|state\| self\.take_pair\(state\)\)/(unsafe { self.state.with_mut(|state| self.take_pair(state)) })/'
mutant no_slot src/obmalloc/extents_pairs.rs 'a pair is had before it is filled' 's/self\.fill\(base\);(\s*for addr.*?\n        \})/$1 self.fill(base);/s'
mutant no_slot src/obmalloc/slots.rs 'purged slot stays in the queue' 's/let stamp = self\.unlink\(addr\) >> STATE_BITS;/let stamp = self.note(addr) >> STATE_BITS;/'
mutant no_slot $extents 'put on the stack before it is purged' 's/let zeroed = unsafe \{ (self\.kernel\.purge[^;]*?) \};(\s*for k in 0\.\.n_slots \{\s*self\.put_clean\(base \+ k \* ARENA_BYTES, )zeroed(\);\s*\})/$2true$3 unsafe { $1 };/s'
mutant no_slot $extents 'a refused purge is believed' 's/self\.put_clean\(base \+ k \* ARENA_BYTES, zeroed\)/self.put_clean(base + k * ARENA_BYTES, true)/'
mutant no_slot $extents 'a dirty slot is called zero' 's/slot\(addr, false\)/slot(addr, true)/'
mutant no_slot $extents 'a purged slot is still counted dirty' 's/(fn take_oldest.*?)self\.dirty_pools\.fetch_sub\(n_pools, Ordering::Relaxed\);/$1/s'

descriptor=src/obmalloc/descriptor.rs
huge=src/obmalloc/huge.rs resize=src/obmalloc/huge_resize.rs
# Where the store of freed mappings is.
store=$(grep -l 'fn take_stored' src/obmalloc/*.rs)
mutant one_free $descriptor 'claimed in two steps' 's/self\.place\s*\.compare_exchange\(.*?\.is_ok\(\)/{ let live = self.place.load(Ordering::Acquire) == addr.wrapping_add(LIVE); if live { self.place.store(addr, Ordering::Relaxed); } live }/s'
mutant one_free $descriptor 'claimed whatever the address' 's/self\.place\s*\.compare_exchange\(.*?\.is_ok\(\)/{ let _ = addr; self.place.fetch_and(!LIVE, Ordering::Acquire) & LIVE != 0 }/s'
mutant one_free $descriptor 'claimed Relaxed' 's/(addr,\s*)Ordering::Acquire/$1Ordering::Relaxed/'
mutant one_free $descriptor 'made live Relaxed' 's/LIVE, Ordering::Release/LIVE, Ordering::Relaxed/'
mutant one_free $huge 'made live before it is named and counted' 's/(self\.slot\(base\)\s*\.set_owner\(Owner::Huge[^;]*;\s*self\.with[^;]*;\s*)(this\.set_live\(base, len\);)/$2 $1/'
mutant one_free $huge 'carved noted after it is live' 's/(unsafe \{ this\.with_rest\(\|rest\| rest\.carved = carved\) \};)(.*?this\.set_live\(base, len\);)/$2 $1/s'
mutant one_free $resize 'name cleared after the block moved' 's/(\/\/ The name goes before the memory, as in.*?)self\.slot\(p\)\.set_owner\(Owner::Nobody\);(.*?)(self\.slot\(target\))/$1$2self.slot(p).set_owner(Owner::Nobody); $3/s'
mutant one_free $huge 'name cleared after the memory is gone' 's/self\.slot\(base\)\.set_owner\(freed\);(.*?)(\}\s*self\.with\(\|state\| state\.give_descriptor)/$1 self.slot(base).set_owner(freed); $2/s'
mutant one_free $huge 'a slot is named free after it is given back' 's/self\.slot\(base\)\.set_owner\(freed\);(.*?\.release\([^;]*;)/$1 self.slot(base).set_owner(freed);/s'
mutant one_free $resize 'a slot counts as mapped for its block' 's/(if carved && new_len <= SLOT_MAX[^{]*\{)/$1 self.note_resized(old_len, new_len);/'
mutant one_free $resize 'a block is not claimed while it moves' 's/ \|\| !this\.claim\(p\.addr\(\)\.get\(\)\)//'
mutant one_free $store 'a stored block stays in the store' 's/self\.recent\.take\(\)\?/self.recent?/'
mutant one_free $huge 'descriptors given back before the memory' 's/(unsafe fn give_back[^{]*\{)(.*?)self\.with\(\|state\| state\.give_descriptor\(descriptor\)\);/$1 self.with(|state| state.give_descriptor(descriptor)); $2/s'
mutant one_free $huge 'no lock' 's/(fn with<R>.*?)let _locked = self\.lock\.lock\(\);/$1/s'

kept=src/obmalloc/kept.rs with_kept=src/obmalloc/huge_kept.rs
mutant kept_blocks $kept 'taken in two steps' 's/self\.block\s*\.compare_exchange\(.*?\.is_ok\(\)/{ let here = self.block.load(Ordering::Acquire) == block.as_ptr(); if here { self.block.store(null_mut(), Ordering::Relaxed); } here }/s'
mutant kept_blocks $kept 'put Relaxed' 's/(block\.as_ptr\(\), )Ordering::Release/$1Ordering::Relaxed/'
mutant kept_blocks $kept 'a place is not left' 's/self\.taken\.fetch_and\(.*?;//'
mutant kept_blocks $kept 'joined without an exchange' 's/match self\.taken\.compare_exchange\(.*?\) \{/self.taken.store(taken | 1 << index, Ordering::Relaxed); match Ok::<u64, u64>(taken) {/s'
mutant kept_blocks $with_kept 'kept without a claim' 's/self\.claim\(p\)/self.find(p)/'
mutant kept_blocks $with_kept 'kept where there is one' 's/if !place\.is_empty\(\) \{/if false {/'

engine=src/obmalloc/engine.rs
backing=src/obmalloc/heap_backing.rs
mutant released $backing 'owner cleared after the slot is in the queue' 's/(slot\.set_owner\(Owner::Nobody\);)(.*?self\.extents\.release\(addr, self\.epoch, n_pools\);)/$2 $1/s'
mutant released $backing 'owner not cleared' 's/slot\.set_owner\(Owner::Nobody\);//'
mutant released $engine 'label of an emptied pool not cleared' 's/self\.backing\.label\(G::memory\(pool\), span, None\);//'
mutant released $engine 'labels cleared after the arena is released' 's/(self\.backing\.label\(first, total as usize, None\);)(.*?self\.release\(arena\);)/$2 $1/s'
mutant released $engine 'pool not labelled' 's/self\.backing\s*\.label\(G::memory\(pool\), class\.span\(\), Some\(class\)\);//'

flush=src/obmalloc/flush.rs
mutant blocks_come $flush 'chains for other heaps are dropped' 's/unsafe \{ heap\.gate\(\)\.deliver\(chain\) \};/let _ = chain;/'
mutant blocks_come $flush 'blocks are freed into whichever heap has them' 's/if home_of\(block\) != own_home/if own_home == 0/'
mutant blocks_come $flush 'put back without the lock of their heap' 's/heap\.gate\(\)\.enter_soon\(may_wait, (\|state\| \{.*?\n        \})\)/Some(unsafe { heap.gate().with_held($1) })/s'
mutant blocks_come $flush 'what is left is dropped' 's/unsafe \{ deliver\(heap, class, now\) \}/(0, 0)/'

options=src/global/options.rs
mutant options $options 'ready Relaxed' 's/ready\.store\(true, Ordering::Release/ready.store(true, Ordering::Relaxed/'
mutant options $options 'ready read Relaxed' 's/ready\.load\(Ordering::Acquire/ready.load(Ordering::Relaxed/'
mutant options $options 'ready before the options are there' 's/(self\.page\.store\(os)/self.ready.store(true, Ordering::Release); $1/'

registration=src/global/registration.rs
mutant hooks $registration 'key published Relaxed' 's/store\(state, Ordering::Release/store(state, Ordering::Relaxed/'
mutant hooks $registration 'state read Relaxed' 's/load\(Ordering::Acquire/load(Ordering::Relaxed/'
mutant hooks $registration 'claimed in two steps' 's/self\.state\s*\.compare_exchange.*?is_ok\(\)/{ let new = self.is_new(); self.state.store(CLAIMED, Ordering::Relaxed); new }/s'
mutant hooks $registration 'state before key' 's/(if let Some\(key\) = key \{.*?\n        \}\n)(.*?Ordering::Release\);)/$2 $1/s'

order=src/observe/recorder/order.rs
mutant events $order 'who frees a block of another log keeps the ticket' 's/maker == self\.log \|\| self\.order\.is_behind\(self\.ticket, maker\)/true/'
mutant events $order 'who takes blocks keeps the ticket' 's/if taken /if false /g'
mutant events $order 'a log does not say its ticket' 's/self\.stamps\[log\]\.0\.store\(ticket, Ordering::Relaxed\);//'
mutant events $order 'nobody knows who made a block' 's/maker\.store\(self\.log as u8, Ordering::Relaxed\);//g'
mutant events $order 'a ticket is taken in two steps' 's/self\.clock\.0\.fetch_add\(1, Ordering::Relaxed\) \+ 1/{ let last = self.clock.0.load(Ordering::Relaxed); self.clock.0.store(last + 1, Ordering::Relaxed); last + 1 }/'
mutant events $order 'two logs are alone' 's/\(Ordering::Relaxed\) <= 1/(Ordering::Relaxed) <= 2/'

progress=src/observe/recorder/progress.rs
mutant events $progress 'who ends looks once' 's/while look\(\) > 0 \{\}/look();/'
mutant events $progress 'a look does not learn what came before' 's/self\.done\.load\(Ordering::Acquire\)/self.done.load(Ordering::Relaxed)/'
mutant events $progress 'a simple event does not say what came before' 's/done\.0, Ordering::Release/done.0, Ordering::Relaxed/'
mutant events $progress 'any other event does not say what came before' 's/len as u64, Ordering::Release/len as u64, Ordering::Relaxed/'
mutant events $progress 'who was at an event opens what was shut' 's/let _ = self\.simple_to\.compare_exchange\(\s*to,\s*len as u32,\s*Ordering::Relaxed,\s*Ordering::Relaxed,\s*\)/self.simple_to.store(len as u32, Ordering::Relaxed)/'

echo "$caught caught, $missed missed"
[[ $missed == 0 ]]
