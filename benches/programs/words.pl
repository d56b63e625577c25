# Hashes of arrays, sorting, string building, substitution.
use strict;
use warnings;

my (%count, %index, $total);
for my $round (1 .. 4) {
    for my $i (0 .. 60_000) {
        my $word = "w" . ($i * 7919 % 20011);
        $count{$word}++;
        push @{ $index{ $i % 5003 } }, "$word:$i";
    }
    my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
    my $text = join ",", @sorted;
    $text =~ s/w(\d+)/<$1>/g;
    $total += length $text;
    %index = () if $round % 2;
}
print "$total\n";
