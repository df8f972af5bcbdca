package com.example;

import com.fasterxml.jackson.core.json.PackageVersion;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.fishermerge.estimate.Estimation;
import org.fishermerge.estimate.ModelSource;
import org.xerial.snappy.Snappy;

/** Estimates: MODEL CLIP CLASSES DATA OUTPUT, and uses its own Snappy before and after. */
public final class HostApp {
  public static void main(String[] args) throws Exception {
    String text = "twice twice twice twice twice";
    byte[] packed = Snappy.compress(text);
    Estimation.Result result =
        Estimation.of(ModelSource.zeroShot(Path.of(args[0]), Path.of(args[1]), args[2], args[3]))
            .labels("exact")
            .output(Path.of(args[4]))
            .build()
            .run();
    System.out.println("examples " + result.examples());
    System.out.println("jackson " + PackageVersion.VERSION);
    System.out.println("snappy " + new String(Snappy.uncompress(packed), StandardCharsets.UTF_8).equals(text));
  }
}
