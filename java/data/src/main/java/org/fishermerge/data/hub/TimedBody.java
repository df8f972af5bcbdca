package org.fishermerge.data.hub;

import java.io.IOException;
import java.io.InputStream;
import java.net.http.HttpResponse.BodySubscriber;
import java.net.http.HttpTimeoutException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The body of an answer, as a stream for one reader. Unlike the JDK's it fails when nothing comes
 * for too long, and when the connection breaks it first hands out what had arrived.
 */
final class TimedBody extends InputStream implements BodySubscriber<InputStream> {
  /** A chunk, or the end, or what broke the connection. */
  private record Arrival(List<ByteBuffer> chunk, boolean end, @Nullable Throwable failure) {}

  private final Duration timeout;

  /** Never long: a chunk is asked for when one has been taken. */
  private final BlockingQueue<Arrival> arrivals = new LinkedBlockingQueue<>();

  private Iterator<ByteBuffer> buffers = Collections.emptyIterator();
  private ByteBuffer current = ByteBuffer.allocate(0);
  private boolean ended;

  private Flow.@Nullable Subscription subscription;
  private boolean closed;

  TimedBody(Duration timeout) {
    this.timeout = timeout;
  }

  @Override
  public CompletionStage<InputStream> getBody() {
    return CompletableFuture.completedFuture(this);
  }

  @Override
  public synchronized void onSubscribe(Flow.Subscription newSubscription) {
    subscription = newSubscription;
    if (closed) {
      newSubscription.cancel();
    } else {
      newSubscription.request(2);
    }
  }

  @Override
  public void onNext(List<ByteBuffer> chunk) {
    arrivals.add(new Arrival(chunk, false, null));
  }

  @Override
  public void onError(Throwable failure) {
    arrivals.add(new Arrival(List.of(), true, failure));
  }

  @Override
  public void onComplete() {
    arrivals.add(new Arrival(List.of(), true, null));
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
  }

  @Override
  public int read(byte[] bytes, int offset, int length) throws IOException {
    Objects.checkFromIndexSize(offset, length, bytes.length);
    if (length == 0) {
      return 0;
    }
    while (!current.hasRemaining()) {
      if (ended) {
        return -1;
      }
      if (buffers.hasNext()) {
        current = buffers.next();
      } else {
        await();
      }
    }
    int count = Math.min(length, current.remaining());
    current.get(bytes, offset, count);
    return count;
  }

  private void await() throws IOException {
    Arrival arrival;
    try {
      arrival = arrivals.poll(timeout.toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      close();
      throw Interrupted.exception(e);
    }
    if (arrival == null) {
      close();
      throw new HttpTimeoutException("no data for " + timeout.toMillis() / 1000.0 + " s");
    }
    if (arrival.failure() instanceof IOException failure) {
      throw failure;
    }
    if (arrival.failure() != null) {
      throw new IOException(arrival.failure());
    }
    ended = arrival.end();
    buffers = arrival.chunk().iterator();
    synchronized (this) {
      if (subscription != null) {
        subscription.request(1);
      }
    }
  }

  /** Drops the connection, unless all has been read. */
  @Override
  public synchronized void close() {
    closed = true;
    if (subscription != null) {
      subscription.cancel();
    }
  }
}
