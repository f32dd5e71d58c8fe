//! A picture of a machine as SVG, laid out here: states in columns by their distance from the
//! initial one, ways as curves between the columns. Ways forward leave and arrive in the upper half
//! of a box with their captions above, ways back in the lower half with their captions below.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    fmt::Write,
};

use super::{Highlight, caption, edges, left_out};
use crate::definition::{Machine, State, StateIdx, StateKind};

/// Pixels of a character: texts are as wide as a monospaced font has them.
const CHARACTER: usize = 7;
const STATE_HEIGHT: usize = 36;
const STATE_WIDTH_MIN: usize = 90;
const ROW_GAP: usize = 44;
const COLUMN_GAP_MIN: usize = 60;
const LINE_HEIGHT: usize = 14;
const MARGIN: usize = 40;
/// How far from the middle of a box ways leave and arrive.
const ASIDE: usize = 8;
/// How far a way within a column reaches to the right.
const BULGE: usize = 36;

/// Where a state stands: the middle of its box.
#[derive(Clone, Copy, Debug)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
}

/// An SVG picture.
pub fn svg(machine: &Machine, highlight: Highlight) -> String {
    let layout = Layout::of(machine);
    let mut body = String::new();
    let start = layout.places[usize::from(machine.initial.0)];
    let _ = writeln!(
        body,
        r#"<circle cx="{x}" cy="{y}" r="5"/><path d="M{x},{y} H{to}" class="way"/>"#,
        x = start.x - start.width / 2 - 26,
        y = start.y,
        to = start.x - start.width / 2 - 2,
    );
    for ((from, to), captions) in &layout.ways {
        way(
            &mut body,
            layout.places[*from],
            layout.places[*to],
            captions,
        );
    }
    for (position, state) in machine.states.iter().enumerate() {
        let is_current = highlight.is_some_and(|current| usize::from(current.0) == position);
        draw_state(&mut body, state, layout.places[position], is_current);
    }
    if let Some(left_out) = left_out(machine) {
        let (x, y) = (layout.width / 2, layout.height + MARGIN / 2);
        let _ = writeln!(body, r#"<text x="{x}" y="{y}">{left_out}</text>"#);
    }
    let (width, height) = (layout.width, layout.height + MARGIN);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="ui-monospace, monospace" font-size="11">
<title>{title}</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#475569"/></marker></defs>
<style>.way{{fill:none;stroke:#475569;marker-end:url(#tip)}}.state{{fill:#f8fafc;stroke:#475569}}.final{{stroke-width:3}}.error{{fill:#fde8e8;stroke:#c0392b}}.current{{fill:#dbeafe;stroke:#1d4ed8;stroke-width:3}}text{{text-anchor:middle;fill:#0f172a}}</style>
{body}</svg>
"##,
        title = escaped(machine.name.as_str()),
    )
}

struct Layout {
    places: Vec<Place>,
    /// What is written on each way from one state to another.
    ways: BTreeMap<(usize, usize), Vec<String>>,
    width: usize,
    height: usize,
}

impl Layout {
    fn of(machine: &Machine) -> Self {
        let mut ways: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
        for (from, transition) in edges(machine) {
            let way = (usize::from(from.0), usize::from(transition.to.0));
            ways.entry(way)
                .or_default()
                .push(caption(machine, transition));
        }
        let columns = columns(machine);
        let n_columns = columns.iter().max().map_or(0, |last| last + 1);
        let widths = widest_states(machine, &columns, n_columns);
        let gaps = widest_captions(&ways, &columns, n_columns);
        let mut left = vec![MARGIN + 30];
        for column in 0..n_columns {
            left.push(left[column] + widths[column] + gaps[column]);
        }
        let mut filled = vec![0; n_columns];
        let places: Vec<Place> = columns
            .iter()
            .map(|column| {
                let row = filled[*column];
                filled[*column] += 1;
                Place {
                    x: left[*column] + widths[*column] / 2,
                    y: MARGIN + STATE_HEIGHT / 2 + row * (STATE_HEIGHT + ROW_GAP),
                    width: widths[*column],
                }
            })
            .collect();
        let rows = filled.into_iter().max().unwrap_or_default();
        Self {
            places,
            ways,
            width: left[n_columns] + MARGIN,
            height: MARGIN + rows * (STATE_HEIGHT + ROW_GAP),
        }
    }
}

/// How far each state is from the initial one; those that cannot be reached come last.
fn columns(machine: &Machine) -> Vec<usize> {
    let mut columns: Vec<Option<usize>> = vec![None; machine.states.len()];
    columns[usize::from(machine.initial.0)] = Some(0);
    let mut leads_to: Vec<Vec<StateIdx>> = vec![Vec::new(); machine.states.len()];
    for (from, transition) in edges(machine) {
        leads_to[usize::from(from.0)].push(transition.to);
    }
    let mut queue = VecDeque::from([machine.initial]);
    while let Some(state) = queue.pop_front() {
        let next = columns[usize::from(state.0)].map_or(0, |column| column + 1);
        for to in leads_to[usize::from(state.0)].drain(..) {
            let column = &mut columns[usize::from(to.0)];
            if column.is_none() {
                *column = Some(next);
                queue.push_back(to);
            }
        }
    }
    let last = columns.iter().flatten().max().map_or(0, |last| last + 1);
    columns
        .into_iter()
        .map(|column| column.unwrap_or(last))
        .collect()
}

/// The room that the states of each column need.
fn widest_states(machine: &Machine, columns: &[usize], n_columns: usize) -> Vec<usize> {
    let mut widest = vec![STATE_WIDTH_MIN; n_columns];
    for (state, column) in machine.states.iter().zip(columns) {
        let room = &mut widest[*column];
        *room = (*room).max(width(state.name.as_str()) + 24);
    }
    widest
}

/// The room that captions need between each column and the next.
fn widest_captions(
    ways: &BTreeMap<(usize, usize), Vec<String>>,
    columns: &[usize],
    n_columns: usize,
) -> Vec<usize> {
    let mut widest = vec![COLUMN_GAP_MIN; n_columns];
    for ((from, to), captions) in ways {
        let (from, to) = (columns[*from], columns[*to]);
        let text = captions.iter().map(|text| width(text) + 24).max();
        let text = text.unwrap_or_default();
        let (column, room) = match from.cmp(&to) {
            Ordering::Less => (from, text),
            Ordering::Equal => (from, text + 2 * BULGE),
            Ordering::Greater => (from - 1, text),
        };
        widest[column] = widest[column].max(room);
    }
    widest
}

fn width(text: &str) -> usize {
    text.chars().count() * CHARACTER
}

fn draw_state(body: &mut String, state: &State, place: Place, is_current: bool) {
    let class = match state.kind {
        StateKind::Final => " final",
        StateKind::Error => " error",
        StateKind::Entry | StateKind::Regular => "",
    };
    let current = if is_current { " current" } else { "" };
    let _ = writeln!(
        body,
        r#"<rect x="{}" y="{}" width="{}" height="{STATE_HEIGHT}" rx="8" class="state{class}{current}"/><text x="{}" y="{}">{}</text>"#,
        place.x - place.width / 2,
        place.y - STATE_HEIGHT / 2,
        place.width,
        place.x,
        place.y + 4,
        escaped(state.name.as_str()),
    );
}

/// Draws a way with its captions.
fn way(body: &mut String, from: Place, to: Place, captions: &[String]) {
    let lines = captions.len() * LINE_HEIGHT;
    if to.x > from.x {
        let (x1, x2) = (from.x + from.width / 2, to.x - to.width / 2 - 2);
        let (y1, y2) = (from.y - ASIDE, to.y - ASIDE);
        let middle = usize::midpoint(x1, x2);
        curve(body, (x1, y1), middle, (x2, y2));
        // Below a way that leads down, where nothing else is; above any other.
        let top = match y2 > y1 {
            true => y2 + LINE_HEIGHT,
            false => (y2 + LINE_HEIGHT / 2).saturating_sub(lines),
        };
        write_captions(body, middle, top, captions);
    } else if to.x < from.x {
        let (x1, x2) = (from.x - from.width / 2, to.x + to.width / 2 + 2);
        let (y1, y2) = (from.y + ASIDE, to.y + ASIDE);
        let middle = usize::midpoint(x1, x2);
        curve(body, (x1, y1), middle, (x2, y2));
        write_captions(
            body,
            middle,
            usize::midpoint(y1, y2) + LINE_HEIGHT,
            captions,
        );
    } else {
        // In the same column, or to itself: around the right edge.
        let x = from.x + from.width / 2;
        let (y1, y2) = match from.y == to.y {
            true => (from.y - ASIDE, to.y + ASIDE),
            false => (from.y, to.y),
        };
        curve(body, (x, y1), x + BULGE, (x + 2, y2));
        let widest = captions.iter().map(|text| width(text)).max();
        let middle = x + BULGE + widest.unwrap_or_default() / 2;
        let top = usize::midpoint(y1, y2) + LINE_HEIGHT / 2;
        write_captions(body, middle, top, captions);
    }
}

fn curve(body: &mut String, (x1, y1): (usize, usize), bend: usize, (x2, y2): (usize, usize)) {
    let _ = writeln!(
        body,
        r#"<path d="M{x1},{y1} C{bend},{y1} {bend},{y2} {x2},{y2}" class="way"/>"#
    );
}

fn write_captions(body: &mut String, x: usize, top: usize, captions: &[String]) {
    for (line, caption) in captions.iter().enumerate() {
        let y = top + line * LINE_HEIGHT;
        let _ = writeln!(body, r#"<text x="{x}" y="{y}">{}</text>"#, escaped(caption));
    }
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
        escaped
    })
}
