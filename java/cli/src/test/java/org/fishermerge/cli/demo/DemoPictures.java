package org.fishermerge.cli.demo;

import java.nio.file.Path;
import java.util.Locale;

/** The demo's trained towers, and more of its pictures than it draws itself. */
public final class DemoPictures {
  private DemoPictures() {}

  /** Writes {@code models.safetensors} with the heads, and a folder below {@code models} each. */
  public static void models(Path folder) {
    Path file = folder.resolve("models.safetensors");
    DemoFiles.copyModels(file);
    PicturePool.drawn().layOut(file, folder.resolve("models"));
  }

  /** Draws labelled pictures of a task into one safetensors file. */
  public static Path write(String task, long seed, int count, Path file) {
    DemoFiles.writePictures(DemoTask.valueOf(task.toUpperCase(Locale.ROOT)), seed, count, file);
    return file;
  }
}
