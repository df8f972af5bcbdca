package org.fishermerge.benchmarks;

import java.awt.image.BufferedImage;
import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import javax.imageio.ImageIO;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.demo.PictureTask;

/** Reads the data sets of the quality benchmark, as packages and repositories carry them. */
final class PictureData {
  private static final int SIDE = PictureTask.SIDE;
  private static final int IMAGES_MAGIC = 0x803;
  private static final int LABELS_MAGIC = 0x801;
  private static final int FASHION_TRAINING = 12_000; // of 60,000
  private static final int DIGITS_SIDE = 8;
  private static final int DIGITS_WHITE = 16;
  private static final int DIGITS_TRAINING = 1200;

  /** Drawings of a character, by as many people, of which the first so many are trained on. */
  private static final int DRAWINGS_TRAINING = 12;

  private PictureData() {}

  /** A data set's pictures in two parts. */
  record Parts(StoredPictures training, StoredPictures heldBack) {}

  /**
   * Fashion-MNIST (Xiao et al. 2017): four gzipped IDX files.
   *
   * @param heldBack the first so many of its test pictures
   */
  static Parts fashion(Path folder, int heldBack) throws IOException {
    return new Parts(
        new StoredPictures("fashion", 10, idx(folder, "train", FASHION_TRAINING)),
        new StoredPictures("fashion", 10, idx(folder, "t10k", heldBack)));
  }

  private static List<PictureTask.Picture> idx(Path folder, String part, int most)
      throws IOException {
    Path images = folder.resolve(part + "-images-idx3-ubyte.gz");
    Path labels = folder.resolve(part + "-labels-idx1-ubyte.gz");
    try (DataInputStream pixels = gunzipped(images);
        DataInputStream truth = gunzipped(labels)) {
      require(pixels.readInt() == IMAGES_MAGIC, images);
      require(truth.readInt() == LABELS_MAGIC, labels);
      int count = Math.min(pixels.readInt(), most);
      require(truth.readInt() >= count, labels);
      int height = pixels.readInt();
      int width = pixels.readInt();
      require(height <= SIDE && width <= SIDE, images);
      List<PictureTask.Picture> pictures = new ArrayList<>();
      byte[] one = new byte[height * width];
      for (int i = 0; i < count; i++) {
        pixels.readFully(one);
        int[] grey = new int[SIDE * SIDE];
        for (int y = 0; y < height; y++) {
          for (int x = 0; x < width; x++) {
            grey[(y + (SIDE - height) / 2) * SIDE + x + (SIDE - width) / 2] =
                one[y * width + x] & 0xff;
          }
        }
        pictures.add(picture(grey, truth.readUnsignedByte()));
      }
      return pictures;
    }
  }

  private static DataInputStream gunzipped(Path file) throws IOException {
    return new DataInputStream(new GZIPInputStream(Files.newInputStream(file), 1 << 16));
  }

  private static void require(boolean condition, Path file) {
    if (!condition) {
      throw new InputException(file + ": not what its name says");
    }
  }

  /**
   * Handwritten digits (Alpaydin and Kaynak 1998) as scikit-learn carries them: gzipped lines of 64
   * values from 0 to 16 and a label, by writers, of whom the last ones are held back.
   */
  static Parts digits(Path file) throws IOException {
    List<PictureTask.Picture> pictures = new ArrayList<>();
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(gunzipped(file), StandardCharsets.US_ASCII))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String[] values = line.split(",", -1);
        require(values.length == DIGITS_SIDE * DIGITS_SIDE + 1, file);
        int times = SIDE / DIGITS_SIDE;
        int[] grey = new int[SIDE * SIDE];
        for (int i = 0; i < grey.length; i++) {
          int from = i / SIDE / times * DIGITS_SIDE + i % SIDE / times;
          grey[i] = 255 * Integer.parseInt(values[from]) / DIGITS_WHITE;
        }
        pictures.add(picture(grey, Integer.parseInt(values[values.length - 1])));
      }
    }
    require(pictures.size() > DIGITS_TRAINING, file);
    return new Parts(
        new StoredPictures("digits", 10, pictures.subList(0, DIGITS_TRAINING)),
        new StoredPictures("digits", 10, pictures.subList(DIGITS_TRAINING, pictures.size())));
  }

  /**
   * An alphabet of Omniglot (Lake et al. 2015), from the archives images_background_small1.zip and
   * images_background_small2.zip: a class for each character, ink white.
   */
  static Parts omniglot(Path folder, String alphabet) throws IOException {
    Map<String, List<int[]>> characters = new TreeMap<>();
    for (int archive = 1; archive <= 2 && characters.isEmpty(); archive++) {
      Path file = folder.resolve("images_background_small" + archive + ".zip");
      try (ZipFile zip = new ZipFile(file.toFile())) {
        List<? extends ZipEntry> entries =
            zip.stream()
                .filter(entry ->
                    entry.getName().contains("/" + alphabet + "/")
                        && entry.getName().endsWith(".png")
                        && !entry.getName().contains("MACOSX"))
                .sorted((a, b) -> a.getName().compareTo(b.getName()))
                .toList();
        for (ZipEntry entry : entries) {
          String[] names = entry.getName().split("/", -1);
          try (InputStream in = zip.getInputStream(entry)) {
            characters
                .computeIfAbsent(names[names.length - 2], name -> new ArrayList<>())
                .add(ink(ImageIO.read(in)));
          }
        }
      }
    }
    require(characters.size() >= 2, folder.resolve("images_background_small1.zip"));
    List<PictureTask.Picture> training = new ArrayList<>();
    List<PictureTask.Picture> heldBack = new ArrayList<>();
    int label = 0;
    for (List<int[]> drawings : characters.values()) {
      for (int i = 0; i < drawings.size(); i++) {
        (i < DRAWINGS_TRAINING ? training : heldBack).add(picture(drawings.get(i), label));
      }
      label++;
    }
    // The first ones of the training part are what statistics are estimated from.
    Collections.shuffle(training, new Random(0));
    String key = alphabet.toLowerCase(Locale.ROOT);
    return new Parts(
        new StoredPictures(key, label, training), new StoredPictures(key, label, heldBack));
  }

  /** How much of each place is black, from 0 to 255. */
  private static int[] ink(BufferedImage image) {
    int[] black = new int[SIDE * SIDE];
    int[] all = new int[SIDE * SIDE];
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        int place = y * SIDE / image.getHeight() * SIDE + x * SIDE / image.getWidth();
        all[place]++;
        black[place] += (image.getRGB(x, y) & 0xff) < 128 ? 1 : 0;
      }
    }
    int[] grey = new int[black.length];
    Arrays.setAll(grey, i -> 255 * black[i] / all[i]);
    return grey;
  }

  private static PictureTask.Picture picture(int[] grey, int label) {
    byte[] pixels = new byte[PictureTask.CHANNELS * SIDE * SIDE];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) grey[i % grey.length];
    }
    return new PictureTask.Picture(pixels, label);
  }
}
