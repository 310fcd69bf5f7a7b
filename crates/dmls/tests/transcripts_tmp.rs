//! tmp
use rand_chacha::rand_core::SeedableRng;
#[test]
fn all() {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(7);
    let mut bad = 0;
    for p in dmls::Provider::all() {
        for e in std::fs::read_dir("../../../shared/vectors/dmls/transcripts").unwrap() {
            let path = e.unwrap().path();
            if path.extension().is_none_or(|x| x != "json") {
                continue;
            }
            let v: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let r = dmls::vectors::transcript(p, &v, &mut rng);
            println!("{} {:?} {r:?}", path.display(), p);
            if r.is_err() {
                bad += 1
            }
        }
    }
    assert_eq!(bad, 0);
}
