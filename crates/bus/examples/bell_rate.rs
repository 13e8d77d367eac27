//! How many doorbells a second are confirmed and heard: `bell_rate AMQP_URL [HOW_MANY]`, or `bell_rate in-process`.

use std::time::Instant;

use muster_bus::{Bus, Doorbell, Health, Role, Settings};
use muster_domain::ids::OrganisationId;
use uuid::Uuid;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("use: bell_rate AMQP_URL|in-process [HOW_MANY]")?;
    let many: u64 = arguments.next().map_or(Ok(20_000), |many| many.parse())?;
    let bus = if url == "in-process" {
        Bus::in_process()
    } else {
        let mut settings = Settings::new(url);
        settings.prefix = format!("rate-{}", Uuid::new_v4().simple());
        Bus::amqp(settings)?
    };
    bus.health().wait_for(Health::is_connected).await?;
    let bell = |n: u64| Doorbell { organisation: OrganisationId(Uuid::from_u128(n.into())), up_to: n };

    let began = Instant::now();
    let rings: Vec<_> = (0..many).map(|n| (Role::Worker, bell(n))).collect();
    for result in bus.ring_all(&rings).await {
        result?;
    }
    println!("{many} rung together: {:.0} a second", many as f64 / began.elapsed().as_secs_f64());

    let (began, few) = (Instant::now(), many.min(500));
    for n in 0..few {
        bus.ring(Role::Projector, bell(n)).await?;
    }
    println!("{few} rung one after the other: {:.2} ms each", began.elapsed().as_secs_f64() * 1e3 / few as f64);

    let (began, mut bells) = (Instant::now(), bus.bells(Role::Worker));
    for _ in 0..many {
        bells.next().await.ok_or("the bus is closed")?.done();
    }
    println!("{many} heard and acknowledged: {:.0} a second", many as f64 / began.elapsed().as_secs_f64());
    bus.close().await;
    Ok(())
}
