//! The simulated network: it delays, reorders, drops and repeats, and it can be cut in two.
//!
//! What it carries is bytes. Whoever sends repeats a packet until it is acknowledged; packets and acknowledgements may
//! both be dropped, so packets arrive late, out of order and more than once, but as long as the two ends are on the same
//! side they arrive.

use std::collections::BTreeMap;
use std::rc::Rc;

use rand_chacha::ChaCha20Rng;

use super::chance::{below, percent};

/// Of a hundred packets, how many are dropped.
const LOSS: u32 = 20;
/// Of a hundred deliveries, how many acknowledgements are dropped, so that the packet comes again.
const LOST_ACKNOWLEDGEMENTS: u32 = 8;
/// Milliseconds that a packet takes: so different that later ones often come first.
const DELAY: (u32, u32) = (5, 400);
/// Milliseconds after which a packet is sent again.
const RETRY: u32 = 500;

/// Bytes on their way from one member to another.
#[derive(Clone)]
pub struct Packet {
    pub from: usize,
    pub to: usize,
    pub bytes: Rc<[u8]>,
    order: u64,
}

/// What the network did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub packets: u64,
    pub bytes: u64,
    pub delivered: u64,
    pub dropped: u64,
    pub repeated: u64,
    pub overtaken: u64,
    /// Packets that waited for the network to be whole again.
    pub stuck: u64,
}

/// The network.
pub struct Network {
    rng: ChaCha20Rng,
    clock: u64,
    flying: BTreeMap<(u64, u64), Packet>,
    stuck: Vec<Packet>,
    sides: Vec<u8>,
    sent: u64,
    newest: BTreeMap<(usize, usize), u64>,
    traffic: Traffic,
}

impl Network {
    pub fn new(rng: ChaCha20Rng) -> Self {
        Self {
            rng,
            clock: 0,
            flying: BTreeMap::new(),
            stuck: Vec::new(),
            sides: Vec::new(),
            sent: 0,
            newest: BTreeMap::new(),
            traffic: Traffic::default(),
        }
    }

    /// Milliseconds since the start.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How many packets are on their way and can arrive.
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// How many packets wait for the network to be whole.
    pub fn stuck(&self) -> usize {
        self.stuck.len()
    }

    /// One more end; it is on a side.
    pub fn join(&mut self, side: u8) {
        self.sides.push(side);
    }

    /// Which side an end is on.
    pub fn side(&self, end: usize) -> u8 {
        self.sides[end]
    }

    /// Cuts: each end is on the side given.
    pub fn split(&mut self, sides: Vec<u8>) {
        self.sides = sides;
    }

    /// All ends are on one side again; what waited flies.
    pub fn heal(&mut self) {
        self.sides.fill(0);
        for packet in std::mem::take(&mut self.stuck) {
            self.schedule(packet, 0);
        }
    }

    /// Sends bytes.
    pub fn send(&mut self, from: usize, to: usize, bytes: Rc<[u8]>) {
        self.sent += 1;
        self.traffic.packets += 1;
        self.traffic.bytes += bytes.len() as u64;
        self.schedule(Packet { from, to, bytes, order: self.sent }, 0);
    }

    fn schedule(&mut self, packet: Packet, wait: u32) {
        let delay = wait + DELAY.0 + below(&mut self.rng, DELAY.1 - DELAY.0);
        self.flying.insert((self.clock + u64::from(delay), packet.order), packet);
    }

    /// What arrives next; nothing if nothing can arrive.
    pub fn next(&mut self) -> Option<Packet> {
        loop {
            let ((at, _), packet) = self.flying.pop_first()?;
            self.clock = self.clock.max(at);
            if self.sides[packet.from] != self.sides[packet.to] {
                self.traffic.stuck += 1;
                self.stuck.push(packet);
                continue;
            }
            if percent(&mut self.rng, LOSS) {
                self.traffic.dropped += 1;
                self.schedule(packet, RETRY);
                continue;
            }
            if percent(&mut self.rng, LOST_ACKNOWLEDGEMENTS) {
                self.traffic.repeated += 1;
                self.schedule(packet.clone(), RETRY);
            }
            self.traffic.delivered += 1;
            let newest = self.newest.entry((packet.from, packet.to)).or_default();
            if packet.order < *newest {
                self.traffic.overtaken += 1;
            }
            *newest = packet.order.max(*newest);
            return Some(packet);
        }
    }
}
