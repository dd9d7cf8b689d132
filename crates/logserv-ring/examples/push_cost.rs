//! What one push costs and one read: `cargo run --release -p logserv-ring --example push_cost`.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use logserv_ring::{Consumer, Directory, Producer};

const PUSHES: u32 = 2_000;
const ROUNDS: u32 = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Directory::ensure()?;
    for len in [20, 100, 200, 1000] {
        let mut producer = Producer::create(&directory, 0, 1 << 22)?;
        let mut consumer = Consumer::open(&directory, producer.name())?;
        let publisher = consumer.publisher();
        let record = vec![b'x'; len];
        let (mut pushing, mut reading) = (Duration::ZERO, Duration::ZERO);
        let (mut entries, mut bytes) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..PUSHES {
                black_box(producer.push(black_box(&record)));
                black_box(producer.consumer_sleeps());
            }
            pushing += start.elapsed();
            let start = Instant::now();
            while consumer.poll()? > 0 {
                entries.clear();
                bytes.clear();
                consumer.read(256 << 10, &mut entries, &mut bytes)?;
                publisher.publish(consumer.position(), 0)?;
            }
            reading += start.elapsed();
        }
        let pushes = f64::from(PUSHES * ROUNDS);
        let per = |time: Duration| time.as_secs_f64() * 1e9 / pushes;
        println!(
            "{len:5} bytes: push {:.1} ns, read {:.1} ns",
            per(pushing),
            per(reading)
        );
        producer.remove(&directory);
    }
    Ok(())
}
