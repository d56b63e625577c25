use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use List::Util qw(sum reduce shuffle);

my $size = shift;
my $state = 42;
sub rnd { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return int($state / 65536) % $_[0] }

my %count;
my @lines;
for my $n (1 .. $size) {
    my $word = join '', map { chr(97 + rnd(26)) } 1 .. 2 + rnd(9);
    $count{substr $word, 0, 3}{$word}++;
    push @lines, "$n: $word=" . ('x' x rnd(40)) . ';' if $n % 3 == 0;
}
print scalar(keys %count), " groups, ", sum(map { scalar keys %$_ } values %count), " words\n";

my $text = join "\n", @lines;
my $found = () = $text =~ /(\w+)=(x{5,}?);/g;
(my $turned = $text) =~ s/(\d+): (\w+)=(x*);/length($3) . reverse($2) . $1/ge;
print "$found ", sha256_hex($turned), "\n";
print sha256_hex(join ',', sort { length $a <=> length $b or $a cmp $b } map { split /[:=; ]+/ } @lines), "\n";

my @tree;
for my $n (1 .. $size / 20) {
    my $at = \@tree;
    $at = $at->[rnd(4)] ||= [] for 1 .. 1 + rnd(8);
    $at->[4]{"key$n"} = { list => [1 .. rnd(12)], code => sub { $n * $_[0] } };
}
sub walk {
    my ($node, $depth) = @_;
    my $sum = sum(0, map { $_->{code}->($depth) + @{ $_->{list} } } values %{ $node->[4] || {} });
    $sum += walk($_, $depth + 1) for grep { defined } @$node[0 .. 3];
    return $sum;
}
print "tree ", walk(\@tree, 1), "\n";
delete $count{$_} for grep { rnd(2) } sort keys %count;
print scalar(keys %count), " left\n";

my $packed = pack '(N n/a* w)*', map { ($_, "s$_", $_ * $_) } 1 .. 20_000;
my @unpacked = unpack '(N n/a* w)*', $packed;
print "pack ", length $packed, " ", scalar @unpacked, "\n";
my $grown = '';
$grown .= chr(rnd(256)) x (1 + rnd(100)) for 1 .. 20_000;
print "grown ", sha256_hex($grown), "\n";

local $| = 1;
for my $child (1 .. 8) {
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if (!$pid) {
        my %own = map { $_ => "v" x $_ } 1 .. 300;
        print sha256_hex(join '', map { $own{$_} } sort { $a <=> $b } keys %own), "\n";
        exit $child;
    }
    my $line = <$pipe>;
    close $pipe;
    print "child $child ", $? >> 8, " $line";
}
eval { my @big = (1) x -1; die { reason => [1 .. 5] } };
print "died with ", scalar @{ $@->{reason} }, "\n";
