//! The `dmls` command.

fn main() {
    println!("dmls {}", env!("CARGO_PKG_VERSION"));
}
