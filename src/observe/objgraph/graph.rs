//! [`Graph`]: objects and their references as a graph in Graphviz's language, line by line as objgraph 3.7
//! writes it.
//!
//! ```text
//! roots, in red ──► one level after the other: node, colour, then its edges ──► "N more references"
//!                   white at depth 0 … dark grey at the deepest
//! ```

use super::search::{Direction, in_chains, neighbours};
use super::view::{Label, has_finalizer, is_module, label, short_repr};
use super::{Drawing, Names, Predicate};
use crate::gc;
use crate::object::{Erased, Gc};
use core::fmt::Write;
use std::collections::HashSet;

type TextOf<'a> = Box<dyn Fn(&Gc<Erased>) -> String + 'a>;
type AttributesOf<'a> = Box<dyn Fn(&Gc<Erased>) -> Vec<(String, Option<String>)> + 'a>;

/// Hue, saturation, value.
type Colour = [f64; 3];

/// What is drawn, and how.
///
/// ```
/// use pymalloc::{impl_trace, object::{Gc, Slot}, observe::objgraph::Graph};
/// struct Node { next: Slot<Node> }
/// impl_trace!(struct Node { next });
///
/// let node = Gc::new(Node { next: Slot::empty() });
/// node.next.set(Some(node.clone()));
/// let drawing = Graph::new().refs(&[Gc::erased(&node)]);
/// let id = Gc::id(&node);
/// assert!(drawing.dot.contains(&format!("  o{id} -> o{id} [label=\"next\",weight=2];\n")));
/// assert_eq!(drawing.n_nodes, 1);
/// # node.next.take();
/// ```
pub struct Graph<'a> {
    max_depth: usize,
    too_many: usize,
    extra_ignore: HashSet<usize>,
    filter: Option<Predicate<'a>>,
    highlight: Option<Predicate<'a>>,
    cull: Option<Predicate<'a>>,
    extra_info: Option<TextOf<'a>>,
    extra_node_attrs: Option<AttributesOf<'a>>,
    refcounts: bool,
    names: Names,
}

impl Default for Graph<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Graph<'a> {
    /// Graphs three references deep, with at most ten neighbours of each object.
    pub fn new() -> Self {
        Self {
            max_depth: 3,
            too_many: 10,
            extra_ignore: HashSet::new(),
            filter: None,
            highlight: None,
            cull: None,
            extra_info: None,
            extra_node_attrs: None,
            refcounts: false,
            names: Names::Short,
        }
    }

    /// So many references deep.
    pub fn max_depth(mut self, max_depth: usize) -> Self {
        self.max_depth = max_depth;
        self
    }

    /// At most so many neighbours of an object; of the others the number is shown.
    pub fn too_many(mut self, too_many: usize) -> Self {
        self.too_many = too_many;
        self
    }

    /// Without these objects, given by identity.
    pub fn extra_ignore(mut self, ids: impl IntoIterator<Item = usize>) -> Self {
        self.extra_ignore.extend(ids);
        self
    }

    /// Only with objects for which `filter` is true. Roots are drawn in any case.
    pub fn filter(mut self, filter: impl Fn(&Gc<Erased>) -> bool + 'a) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Objects for which `highlight` is true are blue.
    pub fn highlight(mut self, highlight: impl Fn(&Gc<Erased>) -> bool + 'a) -> Self {
        self.highlight = Some(Box::new(highlight));
        self
    }

    /// The graph does not go on behind objects for which `cull` is true. A graph of what refers to an object
    /// ends at [modules](super::View::module) in any case.
    pub fn cull(mut self, cull: impl Fn(&Gc<Erased>) -> bool + 'a) -> Self {
        self.cull = Some(Box::new(cull));
        self
    }

    /// A third line of each node.
    pub fn extra_info(mut self, info: impl Fn(&Gc<Erased>) -> String + 'a) -> Self {
        self.extra_info = Some(Box::new(info));
        self
    }

    /// More attributes of each node, by name: those that have a value.
    pub fn extra_node_attrs(
        mut self,
        attributes: impl Fn(&Gc<Erased>) -> Vec<(String, Option<String>)> + 'a,
    ) -> Self {
        self.extra_node_attrs = Some(Box::new(attributes));
        self
    }

    /// Nodes show how many handles there are to the object, those of the program included.
    pub fn refcounts(mut self) -> Self {
        self.refcounts = true;
        self
    }

    /// Types are named with their modules.
    pub fn long_names(mut self) -> Self {
        self.names = Names::Long;
        self
    }

    /// What `roots` refer to, directly and indirectly.
    pub fn refs(&self, roots: &[Gc<Erased>]) -> Drawing {
        self.draw(roots, Direction::Refs, self.max_depth, self.filter.as_ref())
    }

    /// What refers to `roots`, directly and indirectly.
    pub fn backrefs(&self, roots: &[Gc<Erased>]) -> Drawing {
        let filter = self.filter.as_ref();
        self.draw(roots, Direction::Backrefs, self.max_depth, filter)
    }

    /// The objects of some chains, traced backwards from the last of each. Depth and filter are the chains'.
    pub fn chain(&self, chains: &[&[Gc<Erased>]]) -> Drawing {
        self.draw_chains(chains, Direction::Backrefs)
    }

    /// The objects of some chains, traced forwards from the first of each. Depth and filter are the chains'.
    pub fn chain_forwards(&self, chains: &[&[Gc<Erased>]]) -> Drawing {
        self.draw_chains(chains, Direction::Refs)
    }

    fn draw_chains(&self, chains: &[&[Gc<Erased>]], direction: Direction) -> Drawing {
        let filter = in_chains(chains);
        let max_depth = chains.iter().map(|chain| chain.len()).max().unwrap_or(0);
        let ends = chains.iter().filter_map(|chain| match direction {
            Direction::Refs => chain.first(),
            Direction::Backrefs => chain.last(),
        });
        let roots: Vec<_> = ends.cloned().collect();
        self.draw(
            &roots,
            direction,
            max_depth.saturating_sub(1),
            Some(&filter),
        )
    }

    fn draw(
        &self,
        roots: &[Gc<Erased>],
        direction: Direction,
        max_depth: usize,
        filter: Option<&Predicate>,
    ) -> Drawing {
        let mut pen = Pen {
            graph: self,
            direction,
            max_depth,
            filter,
            dot: "digraph ObjectGraph {\n  node[shape=box, style=filled, fillcolor=white];\n"
                .to_owned(),
            seen: HashSet::new(),
        };
        for root in roots {
            pen.line(format_args!("{}[fontcolor=red]", node(root)));
            pen.seen.insert(Gc::id(root));
        }
        gc::collect();
        let mut n_nodes = 0;
        let mut level = roots.to_vec();
        for depth in 0.. {
            if level.is_empty() {
                break;
            }
            n_nodes += level.len();
            level = pen.level(level, depth);
        }
        pen.dot.push_str("}\n");
        let dot = pen.dot;
        Drawing { dot, n_nodes }
    }

    /// A node's label, quoted. `ours` handles to the object are this graph's own.
    fn node_label(&self, object: &Gc<Erased>, ours: usize) -> String {
        let mut text = self.names.of(object);
        if self.refcounts {
            // objgraph's `getrefcount(obj) - 4` is the same up to Python 3.10; 3.11 makes one reference less.
            let n = match Gc::is_immortal(object) {
                true => Gc::strong_count(object),
                false => Gc::strong_count(object) - ours,
            };
            text += &format!(" [{n}]");
        }
        text.push('\n');
        text += &short_repr(object);
        if let Some(info) = &self.extra_info {
            text.push('\n');
            text += &info(object);
        }
        quote(&text)
    }

    fn node_attributes(&self, object: &Gc<Erased>) -> String {
        let Some(attributes) = &self.extra_node_attrs else {
            return String::new();
        };
        let mut attributes = attributes(object);
        attributes.sort();
        let written = attributes
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}=\"{}\"", quote(&value?))));
        // The comma stands there even if nothing follows.
        ", ".to_owned() + &written.collect::<Vec<_>>().join(", ")
    }
}

/// A graph being drawn.
struct Pen<'a> {
    graph: &'a Graph<'a>,
    direction: Direction,
    max_depth: usize,
    filter: Option<&'a Predicate<'a>>,
    dot: String,
    /// Objects that are roots or in a level.
    seen: HashSet<usize>,
}

impl Pen<'_> {
    fn line(&mut self, text: core::fmt::Arguments) {
        writeln!(self.dot, "  {text};").expect("a string can be written to");
    }

    /// Draws the objects that are `depth` references away; returns those that are one more away.
    fn level(&mut self, level: Vec<Gc<Erased>>, depth: usize) -> Vec<Gc<Erased>> {
        // Labels first: neighbours are handles, which would be counted.
        let labels: Vec<_> = level
            .iter()
            .map(|object| self.graph.node_label(object, 1))
            .collect();
        let goes_on: Vec<_> = level
            .iter()
            .map(|object| depth < self.max_depth && !self.ends_at(object))
            .collect();
        let from: Vec<_> = level
            .iter()
            .zip(&goes_on)
            .filter(|(_, goes_on)| **goes_on)
            .map(|(object, _)| object.clone())
            .collect();
        let mut neighbours = neighbours(&from, self.direction).into_iter();
        let mut next = Vec::new();
        for ((object, label), goes_on) in level.iter().zip(&labels).zip(goes_on) {
            self.node(object, label, depth);
            if goes_on && let Some(neighbours) = neighbours.next() {
                self.edges(object, neighbours, depth, &mut next);
            }
        }
        next
    }

    fn ends_at(&self, object: &Gc<Erased>) -> bool {
        let is_root = self.direction == Direction::Backrefs && is_module(object);
        is_root || self.graph.cull.as_ref().is_some_and(|cull| cull(object))
    }

    fn node(&mut self, object: &Gc<Erased>, label: &str, depth: usize) {
        let id = node(object);
        let attributes = self.graph.node_attributes(object);
        self.line(format_args!("{id}[label=\"{label}\"{attributes}]"));
        let [mut h, mut s, mut v] =
            gradient([0.0, 0.0, 1.0], [0.0, 0.0, 0.3], depth, self.max_depth);
        if is_module(object) {
            (h, s) = (0.3, 1.0);
        }
        let highlight = self.graph.highlight.as_ref();
        if highlight.is_some_and(|highlight| highlight(object)) {
            (h, s, v) = (0.6, 0.6, 0.5 + v * 0.5);
        }
        self.line(format_args!("{id}[fillcolor=\"{}\"]", colour([h, s, v])));
        if v < 0.5 {
            self.line(format_args!("{id}[fontcolor=white]"));
        }
        if has_finalizer(object) {
            self.line(format_args!(
                "{id}->{id}_has_a_del[color=red,style=dotted,len=0.25,weight=10]"
            ));
            self.line(format_args!(
                "{id}_has_a_del[label=\"__del__\",shape=doublecircle,height=0.25,color=red,\
                 fillcolor=\"0,.5,1\",fontsize=6]"
            ));
        }
    }

    /// Draws the edges between an object and its neighbours, and puts those that are new into `next`.
    fn edges(
        &mut self,
        object: &Gc<Erased>,
        neighbours: Vec<Gc<Erased>>,
        depth: usize,
        next: &mut Vec<Gc<Erased>>,
    ) {
        let (mut n, mut n_skipped) = (0, 0);
        for neighbour in neighbours {
            if self.graph.extra_ignore.contains(&Gc::id(&neighbour))
                || self.filter.is_some_and(|filter| !filter(&neighbour))
            {
                continue;
            }
            if n >= self.graph.too_many {
                n_skipped += 1;
                continue;
            }
            n += 1;
            let (source, target) = match self.direction {
                Direction::Refs => (object, &neighbour),
                Direction::Backrefs => (&neighbour, object),
            };
            let label = edge_label(label(source, target, self.graph.names));
            self.line(format_args!("{} -> {}{label}", node(source), node(target)));
            if self.seen.insert(Gc::id(&neighbour)) {
                next.push(neighbour);
            }
        }
        if n_skipped > 0 {
            self.skipped(object, n_skipped, depth);
        }
    }

    /// Says how many neighbours were left out.
    fn skipped(&mut self, object: &Gc<Erased>, n: usize, depth: usize) {
        let colour = colour(gradient(
            [0.0, 1.0, 1.0],
            [0.0, 1.0, 0.3],
            depth + 1,
            self.max_depth,
        ));
        let id = node(object);
        let (label, edge) = match self.direction {
            Direction::Refs => ("references", format!("{id}->too_many_{id}")),
            Direction::Backrefs => ("backreferences", format!("too_many_{id}->{id}")),
        };
        self.line(format_args!(
            "{edge}[color=red,style=dotted,len=0.25,weight=10]"
        ));
        self.line(format_args!(
            "too_many_{id}[label=\"{n} more {label}\",shape=box,height=0.25,color=red,\
             fillcolor=\"{colour}\",fontsize=6]"
        ));
        self.line(format_args!("too_many_{id}[fontcolor=white]"));
    }
}

/// The name of an object's node.
fn node(object: &Gc<Erased>) -> String {
    format!("o{}", Gc::id(object))
}

fn edge_label(label: Option<Label>) -> String {
    match label {
        None => String::new(),
        Some(Label { text, weight }) => {
            let weight = weight.map_or(String::new(), |weight| format!(",weight={weight}"));
            format!(" [label=\"{}\"{weight}]", quote(&text))
        }
    }
}

/// A text inside double quotes of Graphviz's language.
fn quote(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n").replace('\0', "\\\\0")
}

/// The colour at `depth` of a line from one at 0 to one at `max_depth`.
fn gradient(start: Colour, end: Colour, depth: usize, max_depth: usize) -> Colour {
    if max_depth == 0 {
        return start;
    }
    let f = depth as f64 / max_depth as f64;
    core::array::from_fn(|n| start[n] * (1.0 - f) + end[n] * f)
}

/// As C's `%g`: six digits that count, without zeros at the end.
fn colour(colour: Colour) -> String {
    colour.map(six_digits).join(",")
}

fn six_digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    // 0.0825 has one zero before its digits. Colours are never so small that C would write an exponent.
    let before = (value.abs().log10().floor() as i32).clamp(-4, 5);
    let text = format!("{value:.*}", (5 - before) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{quote, six_digits};

    #[test]
    fn figures_have_six_digits_as_in_c() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.3, "0.3"),
            (0.766_666_666, "0.766667"),
            (0.825, "0.825"),
            (1.0 / 30.0, "0.0333333"),
            (0.999_999_9, "1"),
            (-0.05, "-0.05"),
        ] {
            assert_eq!(six_digits(value), text);
        }
    }

    #[test]
    fn what_ends_a_text_in_dot_is_quoted() {
        assert_eq!(quote("a\"b\\c\nd\0"), "a\\\"b\\\\c\\nd\\\\0");
    }
}
