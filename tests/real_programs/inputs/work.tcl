set size [lindex $argv 0]
set state 5
proc rnd {limit} {
    global state
    set state [expr {($state * 1103515245 + 12345) & 0x7fffffff}]
    return [expr {($state >> 8) % $limit}]
}
set d [dict create]
set text ""
for {set n 0} {$n < $size} {incr n} {
    dict lappend d key[rnd 500] [string repeat v [rnd 60]]$n
    append text "w[rnd 1000]=[rnd 50]; "
}
set lengths [lmap {key values} $d {string length [join [lsort $values] -]}]
puts "[dict size $d] [tcl::mathop::+ {*}$lengths]"
puts "[regsub -all {w(\d+)=(\d+);} $text {\2:\1,} turned] [zlib crc32 $turned]"
puts [string length [zlib decompress [zlib compress [string repeat $text 5] 6]]]
proc tree {depth} {
    if {$depth == 0} { return {} }
    return [list [tree [expr {$depth - 1}]] $depth [tree [expr {$depth - 1}]]]
}
puts [string length [tree 12]]
set squares [lmap n [lsort -integer -decreasing [lmap _ [lrepeat 20000 x] {rnd 100000}]] {expr {$n ** 5}}]
puts [zlib crc32 $squares]
for {set n 0} {$n < 30} {incr n} {
    interp create child$n
    interp eval child$n {set x [lrepeat 1000 [list a b c]]; proc f {n} {expr {$n < 2 ? $n : [f [expr {$n - 1}]] + [f [expr {$n - 2}]]}}}
}
for {set n 0} {$n < 30} {incr n} { append fib [interp eval child$n {f 10}] " "; interp delete child$n }
puts $fib
puts [catch {error "an error" info {CODE 1}} message]:$message
