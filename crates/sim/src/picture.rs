//! One world over time, drawn: servers as lanes, parts of a split network as bands, ballots, certificates, finality, rollbacks.
//!
//! No scripts, no fonts from elsewhere, no links: the file may be opened by somebody who did not make it.

use std::fmt::Write;

use dmls::CommitId;

/// Something that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The network is in these parts, one number a server.
    Parts(Vec<usize>),
    /// A server is gone.
    Crash,
    /// It is back, from its disk.
    Boot,
    /// It is back, from a backup.
    Restore,
    /// It knows again what it had forgotten.
    Recovered,
    /// It begins a ballot.
    Ballot,
    /// It knows that a commit was certified.
    Certified(CommitId),
    /// It knows that a commit is final.
    Final(CommitId),
    /// Its head went to another branch: so many epochs were left.
    Rollback(usize),
    /// From here on nothing breaks any more.
    Repair,
}

/// Something that shows, at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The server; of what concerns all, any.
    pub server: usize,
    /// What happened.
    pub what: What,
}

/// Pixels from one moment to the next.
const STEP: usize = 12;
/// From one lane to the next.
const LANE: usize = 64;
/// Left of the first moment, and above the first lane.
const LEFT: usize = 56;
const TOP: usize = 88;
/// Below the last lane.
const LEGEND: usize = 64;

const STYLE: &str = "
svg { font-family: ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', sans-serif; }
.back { fill: #ffffff; } .title { fill: #1f2328; font-size: 17px; font-weight: 600; } .name { fill: #1f2328; font-size: 13px; }
.small { fill: #59636e; font-size: 11px; } .lane { stroke: #8c959f; stroke-width: 2; } .away { stroke-dasharray: 2 5; opacity: 0.6; }
.band1 { fill: #f4d9e2; } .band2 { fill: #fdeecb; } .band3 { fill: #d8ecf7; } .band4 { fill: #e5dcf5; }
.ballot { stroke: #8c959f; fill: none; stroke-width: 1.5; } .certified { fill: #1f6feb; } .final { fill: #1a7f4b; }
.rollback { stroke: #bf4a73; fill: none; stroke-width: 2.5; } .over { fill: #bf4a73; font-size: 11px; font-weight: 600; }
.cross { stroke: #bf4a73; stroke-width: 2.5; } .restore { fill: #d29922; } .recovered { fill: none; stroke: #d29922; stroke-width: 2; }
.repair { stroke: #59636e; stroke-dasharray: 6 4; }
@media (prefers-color-scheme: dark) {
.back { fill: #0d1117; } .title, .name { fill: #e6edf3; } .small { fill: #9198a1; }
.band1 { fill: #3a1f2a; } .band2 { fill: #3a2f14; } .band3 { fill: #14303d; } .band4 { fill: #2a2140; }
.certified { fill: #4493f8; } .final { fill: #3fb97a; } .rollback, .cross { stroke: #e5789b; } .over { fill: #e5789b; }
}
";

/// The picture of a world with so many servers.
pub fn svg(title: &str, servers: usize, moments: &[Moment]) -> String {
    let mut picture = Picture { servers, width: LEFT + (moments.len() + 2) * STEP, body: String::new() };
    picture.bands(moments);
    picture.lanes(moments);
    for (place, moment) in moments.iter().enumerate() {
        picture.moment(place, moment);
    }
    picture.close(title)
}

struct Picture {
    servers: usize,
    width: usize,
    body: String,
}

/// Where a moment is, from the left.
fn x(place: usize) -> usize {
    LEFT + (place + 1) * STEP
}

/// Where a lane is, from above.
fn y(server: usize) -> usize {
    TOP + server * LANE
}

impl Picture {
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // A string takes whatever is written.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    /// Each part but that of the first server has a colour, while there are several.
    fn bands(&mut self, moments: &[Moment]) {
        let splits = moments.iter().enumerate().filter_map(|(place, moment)| match &moment.what {
            What::Parts(parts) => Some((place, parts)),
            _ => None,
        });
        let splits: Vec<_> = splits.collect();
        for (index, (from, parts)) in splits.iter().enumerate() {
            let to = splits.get(index + 1).map_or(moments.len(), |(to, _)| *to);
            // Parts are counted as they come, from that of the first server on.
            let mut seen = Vec::new();
            for (server, part) in parts.iter().enumerate() {
                let number = seen.iter().position(|other| other == part).unwrap_or(seen.len());
                if number == seen.len() {
                    seen.push(*part);
                }
                if number == 0 {
                    continue;
                }
                let (x, y, width) = (x(*from), y(server) - LANE / 2, (to - from) * STEP);
                let colour = (number - 1) % 4 + 1;
                self.add(format_args!(
                    r#"<rect class="band{colour}" x="{x}" y="{y}" width="{width}" height="{LANE}"/>"#
                ));
            }
        }
    }

    /// A line for each server, thin where it is down.
    fn lanes(&mut self, moments: &[Moment]) {
        for server in 0..self.servers {
            let (mut from, mut is_up) = (LEFT, true);
            let own = moments.iter().enumerate().filter(|(_, moment)| moment.server == server);
            let turns = own.filter_map(|(place, moment)| match moment.what {
                What::Crash => Some((place, false)),
                What::Boot | What::Restore => Some((place, true)),
                _ => None,
            });
            let end = (moments.len(), true);
            for (place, goes_up) in turns.chain([end]) {
                let (to, y) = (x(place), y(server));
                let class = if is_up { "lane" } else { "lane away" };
                self.add(format_args!(r#"<line class="{class}" x1="{from}" y1="{y}" x2="{to}" y2="{y}"/>"#));
                (from, is_up) = (to, goes_up);
            }
            let y = y(server) + 4;
            self.add(format_args!(r#"<text class="name" x="12" y="{y}">S{server}</text>"#));
        }
    }

    fn moment(&mut self, place: usize, moment: &Moment) {
        let (x, y) = (x(place), y(moment.server));
        let server = moment.server;
        match &moment.what {
            What::Parts(_) => {}
            What::Boot => {}
            What::Crash => {
                let (left, right, top, bottom) = (x - 5, x + 5, y - 5, y + 5);
                self.add(format_args!(
                    r#"<path class="cross" d="M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}"><title>S{server} crashes</title></path>"#
                ));
            }
            What::Restore => {
                let (left, right, top, bottom) = (x - 7, x + 7, y - 8, y + 5);
                self.add(format_args!(
                    r#"<path class="restore" d="M{left} {bottom}L{right} {bottom}L{x} {top}Z"><title>S{server} comes back from a backup</title></path>"#
                ));
            }
            What::Recovered => self.add(format_args!(
                r#"<circle class="recovered" cx="{x}" cy="{y}" r="8"><title>S{server} has asked all</title></circle>"#
            )),
            What::Ballot => self.add(format_args!(
                r#"<circle class="ballot" cx="{x}" cy="{y}" r="4"><title>S{server} begins a ballot</title></circle>"#
            )),
            What::Certified(commit) => {
                let (name, above) = (short(commit), y - 9);
                self.add(format_args!(
                    r#"<circle class="certified" cx="{x}" cy="{y}" r="4.5"><title>{name} is certified at S{server}</title></circle><text class="small" x="{x}" y="{above}" text-anchor="middle">{name}</text>"#
                ));
            }
            What::Final(commit) => {
                let (name, top, bottom, left, right) = (short(commit), y - 7, y + 7, x - 7, x + 7);
                let below = y + 20;
                self.add(format_args!(
                    r#"<path class="final" d="M{x} {top}L{right} {y}L{x} {bottom}L{left} {y}Z"><title>{name} is final at S{server}</title></path><text class="small" x="{x}" y="{below}" text-anchor="middle">{name}</text>"#
                ));
            }
            What::Rollback(depth) => {
                let (left, top, label) = (x - 9, y + 16, y + 30);
                self.add(format_args!(
                    r#"<path class="rollback" d="M{x} {y}C{x} {top} {left} {top} {left} {y}"><title>S{server} leaves {depth} epochs for another branch</title></path><text class="over" x="{x}" y="{label}" text-anchor="middle">-{depth}</text>"#
                ));
            }
            What::Repair => {
                let (top, bottom, label) = (TOP - LANE / 2, y0(self.servers), TOP - LANE / 2 - 4);
                self.add(format_args!(
                    r#"<line class="repair" x1="{x}" y1="{top}" x2="{x}" y2="{bottom}"/><text class="small" x="{x}" y="{label}" text-anchor="middle">repair</text>"#
                ));
            }
        }
    }

    fn close(mut self, title: &str) -> String {
        let (width, height) = (self.width.max(760), y0(self.servers) + LEGEND);
        let legend = y0(self.servers) + 30;
        let signs: [(&str, &str); 6] = [
            (r#"<circle class="ballot" cx="0" cy="-4" r="4"/>"#, "ballot"),
            (r#"<circle class="certified" cx="0" cy="-4" r="4.5"/>"#, "certified"),
            (r#"<path class="final" d="M0 -11L7 -4L0 3L-7 -4Z"/>"#, "final"),
            (r#"<path class="rollback" d="M5 -8C5 4 -5 4 -5 -8"/>"#, "another branch, epochs left"),
            (r#"<path class="cross" d="M-5 -9L5 1M-5 1L5 -9"/>"#, "crash"),
            (r#"<path class="restore" d="M-7 1L7 1L0 -12Z"/>"#, "from a backup"),
        ];
        let mut left = LEFT;
        for (sign, text) in signs {
            self.add(format_args!(
                r#"<g transform="translate({left} {legend})">{sign}<text class="small" x="12">{text}</text></g>"#
            ));
            left += 40 + 6 * text.len();
        }
        let (title, body) = (escaped(title), self.body);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title><style>{STYLE}</style>
<rect class="back" width="{width}" height="{height}"/>
<text class="title" x="12" y="28">{title}</text>
{body}</svg>
"#
        )
    }
}

/// Below the last lane.
fn y0(servers: usize) -> usize {
    TOP + servers * LANE - LANE / 2
}

/// The name of a commit, as short as it can be told apart in one world.
fn short(commit: &CommitId) -> String {
    let bytes = commit.as_bytes();
    let number = bytes.iter().rev().take(8).rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    number.to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::{Moment, What, svg};

    fn at(server: usize, what: What) -> Moment {
        Moment { server, what }
    }

    #[test]
    fn each_thing_has_its_sign() {
        let commit = |number: u8| vec![number].into();
        let moments = [
            at(0, What::Parts(vec![0, 1, 2])),
            at(0, What::Ballot),
            at(0, What::Certified(commit(1))),
            at(1, What::Certified(commit(2))),
            at(2, What::Crash),
            at(2, What::Boot),
            at(2, What::Restore),
            at(2, What::Recovered),
            at(0, What::Repair),
            at(0, What::Parts(vec![0, 0, 0])),
            at(1, What::Rollback(1)),
            at(1, What::Final(commit(1))),
        ];
        let picture = svg("seed 1 <evil>", 3, &moments);
        let count = |part: &str| picture.matches(part).count();
        assert!(picture.contains("<title>seed 1 &lt;evil></title>"));
        // Two of three servers are elsewhere, for a while.
        assert_eq!((count(r#"class="band1""#), count(r#"class="band2""#)), (1, 1));
        // Each sign once more in the legend.
        for sign in ["ballot", "final", "rollback", "cross", "restore"] {
            assert_eq!(count(&format!(r#"class="{sign}""#)), 2, "{sign}");
        }
        assert_eq!(count(r#"class="certified""#), 3);
        assert_eq!((count(r#"class="lane away""#), count(r#"class="lane""#)), (1, 5));
        assert_eq!(count("is final at S1"), 1);
        assert_eq!(count("<svg"), count("</svg>"));
    }
}
